"""Decides whether PostgreSQL itself sets a column to the transaction's time, from its default and triggers."""

from __future__ import annotations

import re

from include.mirror.relation import Trigger

# The time of the transaction, or a later time before its commit, as PostgreSQL prints a default and as people write it in a
# trigger. AT TIME ZONE is left out: it gives the local time of another zone than the one that windows are selected in.
_NOW = (
    r"(?:pg_catalog\.)?(?:current_timestamp|localtimestamp|now\(\)|(?:transaction|statement|clock)_timestamp\(\))"
    r"(?:\(\d\))?"
)
_CAST = r"(?:::timestamp(?:\(\d\))?(?:with(?:out)?timezone)?|::timestamptz(?:\(\d\))?)*"
_TRANSACTION_TIME = re.compile(rf"\(*{_NOW}\)*{_CAST}\)*{_CAST}", re.IGNORECASE)

# A comment, or a literal, which may contain the beginning of a comment.
_COMMENT = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
# A whole IF without RETURN: the statements after it always run.
_CLOSED_IF = re.compile(r"\bif\b(?:(?!\b(?:if|return)\b).)*?\bend\s+if\s*;", re.DOTALL | re.IGNORECASE)
# An IF, with spaces removed, that is true for every update that changes the row.
_HARMLESS_IF = re.compile(
    r"if\(?(?:tg_op='update'|tg_op='insert'ortg_op='update'|tg_op='update'ortg_op='insert'"
    r"|tg_opin\('(?:insert','update|update','insert)'\)"
    r"|newisdistinctfromold|new\.\*isdistinctfromold\.\*|row\(new\.\*\)isdistinctfromrow\(old\.\*\))\)?then"
)
_WHOLE_ROW = re.compile(r"\bnew\s*:?=", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|elsif|else|case|loop|while|exception|return)\b", re.IGNORECASE)


def is_transaction_time(expression: str | None) -> bool:
    """Return whether an SQL expression is the time of the writing transaction, or a later time before its end."""
    return expression is not None and bool(_TRANSACTION_TIME.fullmatch(re.sub(r"\s+", "", expression)))


def sets(trigger: Trigger, column: str, *, at_insert: bool = False) -> bool:
    """Return whether a trigger sets `column` to the transaction's time at every update that changes a row.

    `at_insert` asks about inserts instead. The result is True only if the function's text leaves no doubt: an assignment
    after an IF may be skipped, and then no window finds the row.
    """
    event = trigger.insert if at_insert else trigger.update
    if not (trigger.before and trigger.row and event) or trigger.conditional or trigger.columns:
        return False
    if _is_moddatetime(trigger):
        return column in trigger.arguments[:1]
    body = _without_comments(trigger.body)
    assignments = assignments_to(trigger, column)
    # A second assignment, or one to the whole row, might overwrite the first.
    if len(assignments) != 1 or _WHOLE_ROW.search(body):
        return False
    before = re.split(r"\bbegin\b", body[: assignments[0].start()], flags=re.IGNORECASE)
    return (
        len(before) == 2
        and is_transaction_time(assignments[0][1])
        and _is_unconditional(before[1], at_insert=at_insert)
    )


def may_set(trigger: Trigger, column: str) -> bool:
    """Return whether a trigger's function may set `column`."""
    if _is_moddatetime(trigger):
        return column in trigger.arguments[:1]
    body = _without_comments(trigger.body)
    one = re.search(rf"\bnew\s*\.\s*{_name(column)}", body, re.IGNORECASE)
    return one is not None or _WHOLE_ROW.search(body) is not None


def assignments_to(trigger: Trigger, column: str) -> list[re.Match[str]]:
    """Return the matches of a trigger function's assignments to `column`. Group 1 is the assigned expression."""
    pattern = rf"\bnew\s*\.\s*{_name(column)}\s*:?=([^;]*);"
    return [
        match
        for match in re.finditer(pattern, _without_comments(trigger.body), re.IGNORECASE)
        if _matches_case(match[0], column)
    ]


def _is_moddatetime(trigger: Trigger) -> bool:
    """Return whether the function is the extension's. It is written in C, so its body is the name of a symbol."""
    return trigger.function == "moddatetime" and trigger.body == "moddatetime"


def _is_unconditional(text: str, *, at_insert: bool) -> bool:
    """Return whether the statement after `text`, the beginning of a function, runs for every write that changes the row."""
    while (shorter := _CLOSED_IF.sub(" ", text)) != text:
        text = shorter
    if not _CONDITION.search(text):
        return True
    return not at_insert and _HARMLESS_IF.fullmatch(re.sub(r"\s+", "", text).casefold()) is not None


def _without_comments(body: str) -> str:
    return _COMMENT.sub(lambda match: match[0] if match[0].startswith("'") else " ", body)


def _name(column: str) -> str:
    """Return a pattern of the ways in which a function may write the name `column`."""
    quoted = re.escape(column.replace('"', '""'))
    # PostgreSQL folds unquoted names to lower case.
    plain = re.fullmatch(r"[a-z_\x80-\U0010ffff][\w$]*", column) is not None and column == column.lower()
    return rf'(?:"{quoted}"|{re.escape(column)}\b)' if plain else f'(?:"{quoted}")'


def _matches_case(assignment: str, column: str) -> bool:
    """Return whether a quoted name in `assignment` is exactly `column`, in upper and lower case too."""
    quoted = re.match(r'new\s*\.\s*"((?:[^"]|"")*)"', assignment, re.IGNORECASE)
    return quoted is None or quoted[1].replace('""', '"') == column
