"""Whether PostgreSQL itself gives a column the transaction's time: what defaults and triggers are believed to do."""

from __future__ import annotations

import re

from include.mirror.relation import Trigger

# The time of the transaction, or a later one before it commits, in the ways that PostgreSQL prints a default and people
# write a trigger. Not AT TIME ZONE: that is another zone's wall clock than the one that windows are asked in.
_NOW = (
    r"(?:pg_catalog\.)?(?:current_timestamp|localtimestamp|now\(\)|(?:transaction|statement|clock)_timestamp\(\))"
    r"(?:\(\d\))?"
)
_CAST = r"(?:::timestamp(?:\(\d\))?(?:with(?:out)?timezone)?|::timestamptz(?:\(\d\))?)*"
_TRANSACTION_TIME = re.compile(rf"\(*{_NOW}\)*{_CAST}\)*{_CAST}", re.IGNORECASE)

# A comment, or a literal that may look like the beginning of one.
_COMMENT = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
# A whole IF that nothing returns from: what follows it is done in any case.
_CLOSED_IF = re.compile(r"\bif\b(?:(?!\b(?:if|return)\b).)*?\bend\s+if\s*;", re.DOTALL | re.IGNORECASE)
# An IF, without spaces, that holds back nothing that changes a row.
_HARMLESS_IF = re.compile(
    r"if\(?(?:tg_op='update'|tg_op='insert'ortg_op='update'|tg_op='update'ortg_op='insert'"
    r"|tg_opin\('(?:insert','update|update','insert)'\)"
    r"|newisdistinctfromold|new\.\*isdistinctfromold\.\*|row\(new\.\*\)isdistinctfromrow\(old\.\*\))\)?then"
)
_WHOLE_ROW = re.compile(r"\bnew\s*:?=", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|elsif|else|case|loop|while|exception|return)\b", re.IGNORECASE)


def is_transaction_time(expression: str | None) -> bool:
    """Whether an SQL expression is the time of the writing transaction, or a later one before its end."""
    return expression is not None and bool(_TRANSACTION_TIME.fullmatch(re.sub(r"\s+", "", expression)))


def sets(trigger: Trigger, column: str, *, at_insert: bool = False) -> bool:
    """Whether a trigger gives `column` the transaction's time at each update of a row, whatever the update changes.

    `at_insert` asks for inserts instead. A function is only believed where its text leaves no doubt: an assignment
    behind an IF may be skipped, and a row that is skipped is a row that no window finds.
    """
    event = trigger.insert if at_insert else trigger.update
    if not (trigger.before and trigger.row and event) or trigger.conditional or trigger.columns:
        return False
    if _is_moddatetime(trigger):
        return column in trigger.arguments[:1]
    body = _without_comments(trigger.body)
    assignments = assignments_to(trigger, column)
    # A second one, or one of the whole row, might undo the first.
    if len(assignments) != 1 or _WHOLE_ROW.search(body):
        return False
    before = re.split(r"\bbegin\b", body[: assignments[0].start()], flags=re.IGNORECASE)
    return (
        len(before) == 2
        and is_transaction_time(assignments[0][1])
        and _is_unconditional(before[1], at_insert=at_insert)
    )


def may_set(trigger: Trigger, column: str) -> bool:
    """Whether a trigger's function may set `column`."""
    if _is_moddatetime(trigger):
        return column in trigger.arguments[:1]
    body = _without_comments(trigger.body)
    one = re.search(rf"\bnew\s*\.\s*{_name(column)}", body, re.IGNORECASE)
    return one is not None or _WHOLE_ROW.search(body) is not None


def assignments_to(trigger: Trigger, column: str) -> list[re.Match[str]]:
    """Return where a trigger's function assigns to `column`; group 1 is the value."""
    pattern = rf"\bnew\s*\.\s*{_name(column)}\s*:?=([^;]*);"
    return [
        match
        for match in re.finditer(pattern, _without_comments(trigger.body), re.IGNORECASE)
        if _to_the_letter(match[0], column)
    ]


def _is_moddatetime(trigger: Trigger) -> bool:
    """Whether it is the extension's function, which is in C: its body is the name of a symbol."""
    return trigger.function == "moddatetime" and trigger.body == "moddatetime"


def _is_unconditional(text: str, *, at_insert: bool) -> bool:
    """Whether what follows `text`, the beginning of a function, is always done, or only not where nothing changed."""
    while (shorter := _CLOSED_IF.sub(" ", text)) != text:
        text = shorter
    if not _CONDITION.search(text):
        return True
    return not at_insert and _HARMLESS_IF.fullmatch(re.sub(r"\s+", "", text).casefold()) is not None


def _without_comments(body: str) -> str:
    return _COMMENT.sub(lambda match: match[0] if match[0].startswith("'") else " ", body)


def _name(column: str) -> str:
    """Return a pattern of how a function may write `column`."""
    quoted = re.escape(column.replace('"', '""'))
    # Without quotes PostgreSQL folds it to lower case.
    plain = re.fullmatch(r"[a-z_\x80-\U0010ffff][\w$]*", column) is not None and column == column.lower()
    return rf'(?:"{quoted}"|{re.escape(column)}\b)' if plain else f'(?:"{quoted}")'


def _to_the_letter(assignment: str, column: str) -> bool:
    """Whether a quoted name in `assignment` is `column`, upper and lower case included."""
    quoted = re.match(r'new\s*\.\s*"((?:[^"]|"")*)"', assignment, re.IGNORECASE)
    return quoted is None or quoted[1].replace('""', '"') == column
