"""The worker's part of a run of `executar_tarefa`: check the call again, import its file, call the function.

A run can't decide freely what is imported. Its name is looked up in the catalog of the folder's files, and exactly the bytes
that the catalog has read are executed, also of those files of the folder that this file imports (importing.py). Then the
function is checked (it must be registered by the decorator, in this file, under this name), and the arguments are checked
against its real signature.

RequestError and ResultError fail the run without retries: for a wrong call (the automation itself may raise RequestError),
and for a result that can't be stored, because a retry would do the work twice. Any other error of the function is retried,
unless it is one of the project's that does not heal. So an automation may run more than once: after a try that failed
halfway, or after a worker that died between the work and its report.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any

from include.conventions.failures import concerning
from include.tarefas import catalog, importing, plain, settings
from include.tarefas.catalog import Catalog
from include.tarefas.errors import RequestError, ResultError
from include.tarefas.request import Call, resolve
from include.tarefas.task import is_tarefa


def execute(conf: object, announce: Callable[[str], None] = lambda _: None) -> Any:
    """Run the automation in a run's conf; return its result as plain JSON data.

    Calls `announce` with the automation's full name after the check of the call, before the import. Raises RequestError or
    ResultError if a retry can't help, CatalogError, and any error of the file or its function. From the call of the function
    on, the attribute `about` of the error is the automation's name.
    """
    known = catalog.load(settings.load().modules_path)
    call = resolve(conf, known)
    announce(call.name)
    try:
        # The function may import within its body, too.
        with importing.Files(known):
            function = find(call, known)
            args, kwargs = _arguments(call, function)
            return _result(call, function(*args, **kwargs))
    except Exception as error:
        # For alerts, which are grouped by it: failures of different automations are different alerts.
        concerning(call.name, error)
        raise


def find(call: Call, known: Catalog) -> Callable[..., Any]:
    """Import the call's file, within `importing.Files`, and return the function.

    Raises RequestError if it is not the function in the source.
    """
    module = known.module(call.module)
    if module is None:
        raise RequestError(f"there is no module {plain.brief(call.module)}")
    function = vars(importing.load(module)).get(call.function)
    if not (
        isinstance(function, FunctionType)
        and is_tarefa(function)
        and function.__name__ == call.function
        and function.__code__.co_filename == str(module.path)
    ):
        raise RequestError(
            f"{call.name} is no longer the function that @tarefa decorates once {module.path.name} has been executed"
        )
    return function


def _arguments(call: Call, function: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments in the types of the real signature: an ISO date becomes a `date` if annotated so."""
    try:
        bound = inspect.signature(function).bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise RequestError(f"{call.name}: {error}") from None
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise RequestError(f"{call.name}: an annotation can't be understood while it runs: {error}") from None
    for name, value in bound.arguments.items():
        if name not in hints:
            continue
        kind = bound.signature.parameters[name].kind
        if kind is kind.VAR_POSITIONAL:
            bound.arguments[name] = tuple(_converted(call, name, hints[name], one) for one in value)
        elif kind is kind.VAR_KEYWORD:
            bound.arguments[name] = {
                key: _converted(call, key, hints[name], one) for key, one in value.items()
            }
        else:
            bound.arguments[name] = _converted(call, name, hints[name], value)
    return bound.args, bound.kwargs


def _converted(call: Call, name: str, hint: Any, value: Any) -> Any:
    """Return the value in the type of its annotation, by pydantic's strict rules for JSON: "5" is not an int."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        reason = "; ".join(
            ": ".join([*([".".join(map(str, one["loc"]))] if one["loc"] else []), one["msg"]])
            for one in error.errors(include_url=False, include_input=False, include_context=False)[:3]
        )
        raise RequestError(f"{call.name}: {name} can't be {plain.brief(value)}: {reason}") from None
    except PydanticUserError:
        raise RequestError(
            f"{call.name}: {name} is a {getattr(hint, '__name__', hint)}, which no JSON value can be"
        ) from None


def _result(call: Call, result: object) -> Any:
    """Return the result after a round trip through JSON: a tuple becomes a list, the keys of a dict become texts."""
    try:
        return json.loads(plain.dump(result))
    except ValueError as error:
        raise ResultError(
            f"{call.name} did its work, but its result can't be kept: {error}."
            " Return texts, numbers, lists and dicts of them, or nothing"
        ) from None
