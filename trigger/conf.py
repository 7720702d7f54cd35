"""Read and check conf and other values that people give, before anything is created."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigger.errors import RequestRefused
from trigger.model import Dag, Param
from trigger.text import did_you_mean, one_line

if TYPE_CHECKING:
    from jsonschema import ValidationError


def check_conf(dag: Dag, conf: Mapping[str, Any], *, allow_undeclared: bool = False) -> None:
    """Raise RequestRefused unless every key of conf is a Param of the DAG and every Param fits its schema.

    Params that are missing in conf are checked with their defaults, as Airflow does when it creates the run.
    """
    # Imported here: these libraries load slowly, and only conf needs them.
    from jsonschema import FormatChecker, SchemaError, ValidationError, validate
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    params = dag.params or {}
    if not allow_undeclared:
        for key in conf:
            if key not in params:
                hint = did_you_mean(key, params) or (
                    f"; it has {', '.join(params)}"
                    if params
                    else ": it has none (--allow-undeclared sends it)"
                )
                raise RequestRefused(f"conf key {key!r} is not a Param of {dag.dag_id}{hint}")
    for name, param in params.items():
        try:
            validate(
                conf.get(name, param.default),
                param.schema,
                format_checker=FormatChecker(),
                registry=Registry(),  # an empty registry, so that a $ref is never fetched from the network
            )
        except ValidationError as error:
            if name not in conf and param.default is None:
                raise RequestRefused(
                    f"conf lacks {name!r}, which {dag.dag_id} requires{_describe(param)}"
                ) from None
            reason = one_line(error.message)
            if error.validator == "pattern" and param.description:
                reason = f"{error.instance!r} is not of that form"  # the description is clearer than a regex
            raise RequestRefused(f"conf {_place(name, error)}: {reason}{_describe(param)}") from None
        except SchemaError as broken:
            raise RequestRefused(
                f"the schema of Param {name!r} of {dag.dag_id} is wrong: {one_line(broken.message)}"
            ) from None
        except Unresolvable:
            continue  # only the server can check it


def _describe(param: Param) -> str:
    return f" ({one_line(param.description)})" if param.description else ""


def _place(name: str, error: ValidationError) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return repr(name + steps)


def _load(text: str, source: str) -> Any:
    """Return the value of a JSON text. Raises ValueError if it is not JSON, RequestRefused for repeated keys."""

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twins = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twins:
            raise RequestRefused(f"{source} has the key {twins[0]!r} twice")
        return dict(pairs)

    def finite(name: str) -> float:
        if not math.isfinite(number := float(name)):
            raise ValueError(f"it holds {name}, which JSON does not know")
        return number

    try:
        return json.loads(
            text, object_pairs_hook=refuse_duplicates, parse_constant=finite, parse_float=finite
        )
    except RecursionError:
        raise RequestRefused(f"{source} is nested too deeply") from None


def _parse_json(text: str, source: str, form: str, instead: str) -> Any:
    """Return the JSON object in `text`, or the list, if `form` mentions one.

    Raises RequestRefused with line and column. `source` names the text; `instead` is a way that avoids the shell's quoting.
    """
    try:
        value = _load(text, source)
    except json.JSONDecodeError as error:
        hint = ""
        if re.match(r"\s*\{\s*[A-Za-z_]", text):
            hint = f"; did the shell take the quotes away? Give --set key=value, or a file: {instead}"
        raise RequestRefused(
            f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}"
        ) from None
    except ValueError as error:
        raise RequestRefused(f"{source} is not JSON: {error}") from None
    if isinstance(value, dict) or (isinstance(value, list) and "list" in form):
        return value
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    kind = kinds.get(type(value), "a number")
    raise RequestRefused(f"{source} is {kind} at line 1, column 1, not {form}")


def _read_json(text: str | None, file: str | None, name: str, form: str, instead: str) -> Any:
    """Return the value of a JSON text, of `@file`, of `-` (standard input), or of the file; {} if none is given."""
    if text is not None and text.startswith("@"):
        file, text = text.removeprefix("@"), None
    if "-" in (text, file):
        read = _decode(sys.stdin.buffer.read(), "standard input")
        return _parse_json(read, f"{name} from standard input", form, instead)
    if file is not None:
        return _parse_json(_read_file(file), f"{name} in {file}", form, instead)
    return {} if text is None else _parse_json(text, name, form, instead)


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the values of `key=value` texts: parsed as JSON if possible, otherwise the text itself."""
    result: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise RequestRefused(f"--set {assignment!r} is not of the form key=value")
        try:
            result[key] = _load(text, f"--set {key}")
        except ValueError:
            result[key] = text
    return result


def read_conf(conf: str | None, file: str | None, assignments: Sequence[str]) -> dict[str, Any]:
    """Return conf from a string, `@file` or `-`, or from a file. `key=value` assignments override its keys.

    Raises RequestRefused if one of them can't be read.
    """
    if conf is not None and file is not None:
        raise RequestRefused("--conf and --file both give the conf: use one of them, and --set on top of it")
    form = 'a JSON object such as {"key": "value"}'
    return {**_read_json(conf, file, "conf", form, "--conf @conf.json"), **_assigned(assignments)}


def read_payload(
    words: Sequence[str], file: str | None, assignments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return args and kwargs from a JSON list or object, in words or in a file. Assignments are added to kwargs.

    Raises RequestRefused if one of them can't be read.
    """
    if words and file is not None:
        raise RequestRefused(
            "a text and --file both give the payload: use one of them, and --set on top of it"
        )
    form = 'a JSON object such as {"name": "value"}, or a list'
    text = " ".join(words) if words else None
    given = _read_json(text, file, "the payload", form, "-f payload.json")
    args, kwargs = (given, {}) if isinstance(given, list) else ([], given)
    return args, {**kwargs, **_assigned(assignments)}


def _read_file(name: str) -> str:
    try:
        return _decode(Path(name).read_bytes(), name)
    except OSError as error:
        raise RequestRefused(f"{name} can't be read: {error.strerror}") from None


def _decode(content: bytes, name: str) -> str:
    try:
        # utf-8-sig removes the byte order mark that editors on Windows write.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestRefused(f"{name} is not text in UTF-8") from None


def parse_instant(text: str, name: str) -> datetime:
    """Return an ISO 8601 instant. Raises RequestRefused without a time zone, because a local time is ambiguous."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise RequestRefused(f"{name} {text!r} is not an instant such as 2026-01-31T03:00:00Z") from None
    if instant.tzinfo is None:
        full = instant.isoformat()
        raise RequestRefused(f"{name} {text!r} has no time zone: write {full}Z for UTC, or {full}-03:00")
    return instant


def parse_duration(text: str, name: str) -> timedelta:
    """Return a duration such as 2h10m20s, or a number of seconds. Raises RequestRefused for anything else."""
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not found or not any(found.groups()):
        raise RequestRefused(f"{name} {text!r} is not a duration such as 2h10m20s, 90m or 45")
    days, hours, minutes, seconds = (float(group or 0) for group in found.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise RequestRefused(f"{name} {text!r} is longer than time is counted") from None
