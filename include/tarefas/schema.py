"""Translate an annotation in a file's source to the JSON Schema of its values, without running the file."""

from __future__ import annotations

import ast
from typing import Any

Names = dict[str, str | None]
"""The meaning of a file's names at one of its lines: a dotted origin, or None if only running the file could show it.

A name that is not in it is a builtin.
"""

ANYTHING: dict[str, Any] = {}
_PLAIN = {
    "builtins.str": {"type": "string"},
    "builtins.int": {"type": "integer"},
    "builtins.float": {"type": "number"},
    "builtins.bool": {"type": "boolean"},
    "builtins.list": {"type": "array"},
    "builtins.dict": {"type": "object"},
}


def origin(node: ast.expr, names: Names) -> str | None:
    """Return the dotted origin of a name or of a module's attribute; None if it is not known."""
    if isinstance(node, ast.Name):
        return names.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute):
        base = origin(node.value, names)
        return None if base is None else f"{base}.{node.attr}"
    return None


def schema_of(annotation: ast.expr | None, names: Names) -> dict[str, Any]:
    """Return the schema of an annotation's values; `{}`, which accepts anything, if JSON has no such type."""
    match annotation:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str(text)):
            try:
                return schema_of(ast.parse(text, mode="eval").body, names)
            except (SyntaxError, ValueError):
                return ANYTHING
        case ast.Name() | ast.Attribute():
            return dict(_PLAIN.get(origin(annotation, names) or "", ANYTHING))
        case ast.BinOp(op=ast.BitOr()):
            return _union([annotation.left, annotation.right], names)
        case ast.Subscript():
            return _generic(annotation, names)
    return ANYTHING


def _generic(annotation: ast.Subscript, names: Names) -> dict[str, Any]:
    inside = annotation.slice
    members = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    match (origin(annotation.value, names) or "").replace("typing_extensions.", "typing."):
        case "builtins.list" if len(members) == 1:
            return {"type": "array", "items": schema_of(members[0], names)}
        case "builtins.dict" if len(members) == 2:
            return {"type": "object", "additionalProperties": schema_of(members[1], names)}
        case "typing.Optional":
            return _union([inside, ast.Constant(None)], names)
        case "typing.Union":
            return _union(members, names)
        case "typing.Annotated":
            return schema_of(members[0], names)
        case "typing.Literal":
            return _literal(members)
    return ANYTHING


def _union(members: list[ast.expr], names: Names) -> dict[str, Any]:
    schemas: list[dict[str, Any]] = []
    for member in members:
        schema = schema_of(member, names)
        # If one member accepts anything, the union does.
        if schema == ANYTHING:
            return ANYTHING
        schemas += schema.get("anyOf", [schema])
    return {"anyOf": schemas}


def _literal(members: list[ast.expr]) -> dict[str, Any]:
    values = []
    for member in members:
        try:
            value = ast.literal_eval(member)
        except ValueError:
            return ANYTHING
        if value is not None and not isinstance(value, str | int | bool):
            return ANYTHING
        values.append(value)
    return {"enum": values}
