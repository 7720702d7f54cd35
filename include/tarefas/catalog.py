"""Find the automations by reading their files' source. No file is imported, so no code of them runs.

An automation is a function at the top level of a file directly in the folder. Its only decorator is
`include.tarefas.tarefa`, which the file may import under any name. Left out are names that begin with `_`, symbolic links
to files outside the folder, and functions whose name is bound again or deleted later in the file.

The result is cached. A file is parsed again only after its state has changed: its inode, its size or its times.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.abc import InspectLoader
from pathlib import Path
from threading import Lock
from time import time_ns
from typing import Any

from include.tarefas.errors import CatalogError
from include.tarefas.schema import Names, origin, schema_of

DECORATORS = tuple(
    # The second package is the former name: include/automations.py.
    f"{package}.{name}"
    for package in ("include.tarefas", "include.automations")
    for name in ("tarefa", "task.tarefa")
)
LARGEST_FILE = 1_000_000
MARKUP = re.compile(r"[\\`*_\[\]<>]")

_PARSING = Lock()
"""Only one thread may parse. Python 3.11 has one recursion counter for the parsers of all threads, and two at once raise
SystemError (python/cpython#106905). The warnings filter is shared by all threads, too."""

TICK = 2_000_000_000
"""Nanoseconds. File systems store times in ticks of up to two seconds. A file that was changed within the last tick may
change again without a visible difference, so its content is not cached yet. git's index handles such files in the same
way."""

State = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter as the source declares it. `schema` is the JSON Schema of its value; of each value for `*` and `**`."""

    name: str
    kind: inspect._ParameterKind
    required: bool
    annotation: str | None
    schema: dict[str, Any]


@dataclass(frozen=True)
class Function:
    """An automation. `signature` is for people: `send_email(email: str, message: str) -> str`."""

    module: str
    name: str
    doc: str
    signature: str
    parameters: tuple[Parameter, ...]

    @property
    def task(self) -> str:
        """Return its full name, for example `hello_world.send_hello_world`."""
        return f"{self.module}.{self.name}"

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its keyword arguments: an object."""
        named = [
            one
            for one in self.parameters
            if one.kind in (one.kind.KEYWORD_ONLY, one.kind.POSITIONAL_OR_KEYWORD)
        ]
        surplus = [one.schema for one in self.parameters if one.kind is one.kind.VAR_KEYWORD]
        return {
            "type": "object",
            "properties": {one.name: one.schema for one in named},
            "required": [one.name for one in named if one.required],
            "additionalProperties": surplus[0] if surplus else False,
        }


@dataclass(frozen=True)
class Module:
    """A file of the folder. If it has an `error`, it has no functions."""

    name: str
    doc: str
    functions: tuple[Function, ...]
    error: str | None = None
    path: Path = field(default=Path(), repr=False)
    source: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Catalog:
    """All files of the folder, by name. `helpers` begin with `_`: they are for other files, and have no automations."""

    modules: list[Module]
    helpers: list[Module] = field(default_factory=list)

    @property
    def functions(self) -> list[Function]:
        """Return the automations of all files."""
        return [function for module in self.modules for function in module.functions]

    @property
    def markdown(self) -> str:
        """Return the automations' signatures as a list in Markdown.

        They are not formatted as code, because lines of code overlap in Airflow's form.
        """
        lines = [f"- {function.module}.{function.signature}" for function in self.functions]
        return "\n".join(MARKUP.sub(r"\\\g<0>", line) for line in lines)

    def module(self, name: str) -> Module | None:
        """Return the file with this name, or None if there is none."""
        return next((module for module in self.modules if module.name == name), None)


class _FileError(Exception):
    """An error in a file, with a message for its author."""


@dataclass(frozen=True)
class _File:
    """A file's content in a state. The state is None if the file must be read again each time."""

    state: State | None
    module: Module


_known: dict[Path, dict[Path, _File]] = {}
"""The files that were read, of each folder. A folder's are replaced as a whole, so that looking needs no lock."""


def load(folder: Path) -> Catalog:
    """Read all files of the folder; unchanged ones come from the cache. Raises CatalogError if it can't be read."""
    try:
        root = folder.resolve(strict=True)
        paths = sorted(root.glob("*.py"))
    except OSError as error:
        raise CatalogError(
            f"AUTOMACOES_MODULES_PATH: the folder {folder} can't be read: {error.strerror}"
        ) from None
    if not root.is_dir():
        raise CatalogError(f"AUTOMACOES_MODULES_PATH: {folder} is not a folder")
    states = {path: _state_of(path) for path in paths if _is_inside(path, root)}
    files = _known.get(root, {})
    if not all(_is_current(files.get(path), state) for path, state in states.items()):
        with _PARSING:
            files = _known.get(root, {})  # Another thread may have read them meanwhile.
            files = {
                path: files[path] if _is_current(files.get(path), state) else _file(path)
                for path, state in states.items()
            }
            _known[root] = files
    modules: list[Module] = []
    helpers: list[Module] = []
    for path in states:
        (helpers if path.name.startswith("_") else modules).append(files[path].module)
    return Catalog(modules, helpers)


def _is_current(file: _File | None, state: State | None) -> bool:
    return file is not None and file.state is not None and file.state == state


def _state_of(path: Path) -> State | None:
    try:
        return _state(path.stat())
    except OSError:
        return None


def _state(found: os.stat_result) -> State:
    # Nobody can set the last one back, and it moves with every write.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_inside(path: Path, root: Path) -> bool:
    try:
        return path.is_file() and path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of symbolic links
        return False


def _file(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            # Before reading: whoever writes meanwhile makes it another state.
            now, found = time_ns(), os.fstat(file.fileno())
            source = file.read(LARGEST_FILE + 1)
    except OSError as error:
        return _File(None, Module(path.stem, "", (), f"it can't be read: {error.strerror}", path))
    return _File(_state(found) if now - found.st_ctime_ns > TICK else None, _module(path, source))


def _module(path: Path, source: bytes) -> Module:
    try:
        if not path.stem.isidentifier():
            raise _FileError("its name is no Python name: letters, digits and _ only")
        if len(source) > LARGEST_FILE:
            raise _FileError(f"it is larger than {LARGEST_FILE:,} bytes")
        tree = _parse(source)
        functions = tuple(_functions(path.stem, tree))
    except _FileError as error:
        return Module(path.stem, "", (), str(error), path)
    # Annotations and defaults may be any expression, and some can't be read.
    except (RecursionError, TypeError, ValueError) as error:
        return Module(path.stem, "", (), f"its signatures can't be read: {error}", path)
    return Module(path.stem, _doc(tree), functions, None, path, source)


def _doc(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    # A lone surrogate can't be encoded, so showing the text would raise an error.
    return (ast.get_docstring(node) or "").encode(errors="backslashreplace").decode()


def _parse(source: bytes) -> ast.Module:
    try:
        tree = ast.parse(source)
        # The first step of a worker's import. It executes nothing, and finds errors that parsing does not find.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            InspectLoader.source_to_code(source, "<automation>")
        return tree
    except SyntaxError as error:
        raise _FileError(f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise _FileError(str(error) or "it is nested too deeply") from None


def _functions(module: str, tree: ast.Module) -> list[Function]:
    """Return the automations of a file, in the file's order."""
    names: Names = {}
    found: dict[str, Function] = {}
    for statement in tree.body:
        function = None
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and _is_decorated(statement, names):
            function = _function(module, statement, names)
        for name in _bound(statement):
            names[name] = None
            found.pop(name, None)
        names.update(_imported(statement))
        if any(isinstance(node, ast.alias) and node.name == "*" for node in ast.walk(statement)):
            # After `import *`, any name may have another meaning.
            names = dict.fromkeys(names)
            found = {}
        if function is not None and not function.name.startswith("_"):
            found[function.name] = function
    return list(found.values())


def _is_decorated(node: ast.FunctionDef | ast.AsyncFunctionDef, names: Names) -> bool:
    """Return whether the function is decorated with @tarefa. Raises _FileError for a wrong use of it."""

    def wrong(why: str) -> _FileError:
        return _FileError(f"line {node.lineno}: {node.name} {why}")

    called = [one.func for one in node.decorator_list if isinstance(one, ast.Call)]
    if any(origin(one, names) in DECORATORS for one in called):
        raise wrong("has @tarefa with parentheses; it takes none")
    if not any(origin(one, names) in DECORATORS for one in node.decorator_list):
        return False
    if len(node.decorator_list) > 1:
        raise wrong(
            "has another decorator beside @tarefa, which could change its arguments; decorate a helper"
        )
    if isinstance(node, ast.AsyncFunctionDef):
        raise wrong("is async, which @tarefa does not take; use asyncio.run inside")
    if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_nodes(node)):
        raise wrong("is a generator, which @tarefa does not take; return a list")
    return True


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, without those of inner functions and classes."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _function(module: str, node: ast.FunctionDef | ast.AsyncFunctionDef, names: Names) -> Function:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return Function(
        module=module,
        name=node.name,
        doc=_doc(node),
        signature=f"{node.name}({ast.unparse(node.args)}){returns}",
        parameters=tuple(_parameters(node.args, names)),
    )


def _parameters(arguments: ast.arguments, names: Names) -> Iterator[Parameter]:
    kinds = inspect.Parameter
    positional: list[tuple[ast.arg, inspect._ParameterKind]] = [
        *((one, kinds.POSITIONAL_ONLY) for one in arguments.posonlyargs),
        *((one, kinds.POSITIONAL_OR_KEYWORD) for one in arguments.args),
    ]
    without = len(positional) - len(arguments.defaults)
    for number, (argument, kind) in enumerate(positional):
        default = arguments.defaults[number - without] if number >= without else None
        yield _parameter(argument, kind, default, names)
    if arguments.vararg:
        yield _parameter(arguments.vararg, kinds.VAR_POSITIONAL, None, names)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, kinds.KEYWORD_ONLY, default, names)
    if arguments.kwarg:
        yield _parameter(arguments.kwarg, kinds.VAR_KEYWORD, None, names)


def _parameter(
    argument: ast.arg, kind: inspect._ParameterKind, default: ast.expr | None, names: Names
) -> Parameter:
    variable = kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)
    return Parameter(
        name=argument.arg,
        kind=kind,
        required=default is None and not variable,
        annotation=ast.unparse(argument.annotation) if argument.annotation else None,
        schema=schema_of(argument.annotation, names),
    )


def _imported(statement: ast.stmt) -> Names:
    """Return the names that a top-level import binds. Imports inside `if` or `try` don't count: they may not run."""
    names: Names = {}
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            # `import a.b` binds a, `import a.b as c` binds a.b.
            name = alias.asname or alias.name.partition(".")[0]
            names[name] = alias.name if alias.asname else name
    elif isinstance(statement, ast.ImportFrom) and not statement.level:
        for alias in statement.names:
            names[alias.asname or alias.name] = f"{statement.module}.{alias.name}"
    return names


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds or deletes, also under a condition."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name
            case ast.MatchMapping(rest=str(name)):
                yield name
        waiting += ast.iter_child_nodes(node)
