"""A call of an automation, and its check against the source of the function that it names.

The same check runs before a run is created, for calls from any client, and again in the worker. A conf may name its
automation by `tarefa`, or by `module` and `function`. A `Call` has one name, and one form in which runs store it
(trigger/calls.py).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from include.conventions.queues import Queue
from include.tarefas import plain
from include.tarefas.catalog import Catalog, Function, Parameter
from include.tarefas.errors import RequestError
from trigger.calls import stored

KEYS = ("tarefa", "module", "function", "args", "kwargs", "queue")


@dataclass(frozen=True)
class Call:
    """A call that fits its function, as far as the source shows."""

    module: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    queue: str = Queue.DEFAULT.value

    @property
    def name(self) -> str:
        """Return the automation's full name, for example `hello_world.send_hello_world`."""
        return f"{self.module}.{self.function}"

    def conf(self) -> dict[str, Any]:
        """Return the conf of a run of `executar_tarefa`."""
        return stored(self.name, self.args, self.kwargs, self.queue)


def resolve(conf: object, catalog: Catalog) -> Call:
    """Return the call in a conf. A key with the value None counts as not given.

    Raises RequestError with what is wrong and what would be right.
    """
    if not isinstance(conf, Mapping):
        raise RequestError(f"a call is a JSON object with {_list(KEYS)}, not {plain.brief(conf)}")
    given = {key: value for key, value in conf.items() if value is not None}
    if unknown := [key for key in given if key not in KEYS]:
        raise RequestError(
            f"unknown key {plain.brief(unknown[0])}{_suggestion(unknown[0], KEYS)}; there are {_list(KEYS)}"
        )
    try:
        # In the form in which it came, because the worker has to accept whatever is accepted here.
        plain.dump([given.get("args"), given.get("kwargs")])
    except ValueError as error:
        raise RequestError(f"the call can't be kept as JSON: {error}") from None
    queue = given.get("queue", Queue.DEFAULT.value)
    if queue not in list(Queue):
        raise RequestError(
            f"queue {plain.brief(queue)} is not there{_suggestion(queue, Queue)}; there are {_list(Queue)}"
        )
    function = _function(given, catalog)
    args = _typed(given, "args", list, "a JSON list")
    kwargs = _typed(given, "kwargs", dict, "a JSON object")
    _bind(function, args, kwargs)
    return Call(function.module, function.name, args, kwargs, str(queue))


def _function(given: Mapping[str, Any], catalog: Catalog) -> Function:
    """Return the function that is asked for, by `tarefa` or by `module` and `function`."""
    if "tarefa" in given:
        if "module" in given or "function" in given:
            raise RequestError("give either tarefa, or module and function")
        return _by_task(_typed(given, "tarefa", str, "a name"), catalog)
    if missing := [key for key in ("module", "function") if key not in given]:
        if len(missing) == 2:
            raise RequestError(
                "say which automation: tarefa, as in"
                f' {{"tarefa": "hello_world.send_hello_world"}}, or module and function; there are {_tasks(catalog)}'
            )
        raise RequestError(f"{missing[0]} is missing: give tarefa, or both module and function")
    return _by_module(
        _typed(given, "module", str, "a name"), _typed(given, "function", str, "a name"), catalog
    )


def _by_task(task: str, catalog: Catalog) -> Function:
    if "." in task:
        module, _, name = task.rpartition(".")
        return _by_module(module, name, catalog)
    found = [function for function in catalog.functions if function.name == task]
    if len(found) > 1:
        raise RequestError(
            f"tarefa {plain.brief(task)} is in several modules: write {_list(one.task for one in found)}"
        )
    if found:
        return found[0]
    suggestion = _suggestion(task, (function.name for function in catalog.functions))
    broken = [module for module in catalog.modules if module.error]
    unread = f"; {_list(module.name for module in broken)} can't be read" if broken else ""
    raise RequestError(
        f"there is no tarefa {plain.brief(task)}{suggestion}; there are {_tasks(catalog)}{unread}"
    )


def _by_module(module_name: str, name: str, catalog: Catalog) -> Function:
    module = catalog.module(module_name)
    if module is None:
        names = [module.name for module in catalog.modules]
        raise RequestError(
            f"there is no module {plain.brief(module_name)}{_suggestion(module_name, names)}; there are {_list(names)}"
        )
    if module.error:
        raise RequestError(f"module {module.name} can't be read: {module.error}")
    for function in module.functions:
        if function.name == name:
            return function
    names = [function.name for function in module.functions]
    there = f"it has {_list(names)}" if names else "it has no function with @tarefa"
    raise RequestError(
        f"module {module.name} has no tarefa {plain.brief(name)}{_suggestion(name, names)}; {there}"
    )


def _bind(function: Function, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments against the signature, and against those annotations that have a JSON Schema."""
    parameters = {one.name: one for one in function.parameters}
    try:
        bound = signature(function).bind(*args, **kwargs)
    except TypeError as error:
        unknown = [key for key in kwargs if key not in parameters]
        suggestion = _suggestion(unknown[0], parameters) if unknown else ""
        raise RequestError(f"{function.task}: {error}{suggestion}; it is {function.signature}") from None
    for name, value in bound.arguments.items():
        parameter = parameters[name]
        for one in _values(parameter, value):
            _check(function, parameter, one)


def signature(function: Function) -> inspect.Signature:
    """Return the function's signature as an `inspect.Signature`, without annotations, and with None as defaults."""
    return inspect.Signature(
        [
            inspect.Parameter(
                one.name,
                one.kind,
                default=inspect.Parameter.empty if one.required or _takes_many(one) else None,
            )
            for one in function.parameters
        ]
    )


def _takes_many(parameter: Parameter) -> bool:
    return parameter.kind in (parameter.kind.VAR_POSITIONAL, parameter.kind.VAR_KEYWORD)


def _values(parameter: Parameter, value: Any) -> list[Any]:
    if parameter.kind is parameter.kind.VAR_POSITIONAL:
        return list(value)
    return list(value.values()) if parameter.kind is parameter.kind.VAR_KEYWORD else [value]


def _check(function: Function, parameter: Parameter, value: Any) -> None:
    from jsonschema.exceptions import best_match

    if not parameter.schema:
        return
    if error := best_match(_validator(parameter.schema).iter_errors(value)):
        where = "" if not error.absolute_path else f" (at {error.json_path.removeprefix('$').lstrip('.')})"
        raise RequestError(
            f"{function.task}: {parameter.name} must be {parameter.annotation},"
            f" not {plain.brief(value)}{where}; it is {function.signature}"
        )


def _validator(schema: dict[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # As in Python, and as pydantic checks in the worker: 1.0 is not an int.
    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return extend(Draft202012Validator, type_checker=strict)(schema)


def _typed(given: Mapping[str, Any], key: str, kind: type, words: str) -> Any:
    value = given.get(key, kind())
    if not isinstance(value, kind):
        raise RequestError(f"{key} must be {words}, not {plain.brief(value)}")
    return value


def _tasks(catalog: Catalog) -> str:
    return _list(function.task for function in catalog.functions)


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(str, names)) or "none"


def _suggestion(name: object, known: Iterable[str]) -> str:
    """Return a suggestion, if there is a similar name, or an empty text."""
    # The comparison is slow for long texts, and a long text is not a typing error.
    if not isinstance(name, str) or len(name) > 100:
        return ""
    close = difflib.get_close_matches(name, list(map(str, known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
