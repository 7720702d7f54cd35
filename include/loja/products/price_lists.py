"""`atualizacao_precos` on the database: propose what a list changes, then apply it in one transaction, with its history.

| step                                                           | when the process dies right after it              |
|----------------------------------------------------------------|---------------------------------------------------|
| propose: list and lines, one transaction; a retry replaces them | the retry fetches the list again                 |
| if lines are beyond the limit, a person decides                | Airflow keeps the answer                          |
| apply: lock the list, prices, history, `aplicada_em`; commit   | the retry finds it applied, and reports the same  |
| in the middle of applying                                      | rolled back: no price has changed                 |

Two processes at once: the second waits for the list's row, and then finds the list applied. A price that somebody else
changed after the list was read is not overwritten: its line ends as `conflito`, because the approved change began at
another price.

An approval holds for the changes that the person has seen. They have a digest, which is part of the answer: a list that was
read again meanwhile, with other changes, is not applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql
from include.conventions.errors import LeftoverError, RequestError
from include.loja.mysql import transaction
from include.loja.products.prices import Proposal

FOLDER = "atualizacao_precos"
SHOWN = 50


class _Plain(dict[int, str]):
    """For `str.translate`: a character's code, and what Markdown shows as this character and as nothing else."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        return character if character.isalnum() or character == " " else f"&#{code};"


# Addresses become links even where their characters are escaped. So an invisible character (U+2060) parts what makes one.
_PLAIN = _Plain({ord(character): f"&#8288;&#{ord(character)};" for character in ".:@"})


@dataclass(frozen=True)
class Question:
    """A question about the changes beyond the limit: its text in Markdown, and the digest of the changes."""

    text: str
    digest: str


@dataclass(frozen=True)
class Decision:
    """A person's decision about the changes beyond the limit.

    `approved` is the digest of the approved changes, None if they are refused. `by` is None if nobody was asked, or nobody
    answered.
    """

    approved: str | None
    by: str | None


def catalogue(connection: Connection[DictCursor]) -> dict[int, Decimal]:
    """Return the price of each product."""
    with connection.cursor() as cursor:
        cursor.execute(sql.text(FOLDER, "read_prices"))
        return {row["produto_id"]: row["preco"] for row in cursor.fetchall()}


def save(
    connection: Connection[DictCursor], name: str, origin: str, content: bytes, proposals: Iterable[Proposal]
) -> None:
    """Store the list `name` with the proposals of its lines, and replace what an earlier try stored.

    Raises RequestError when the list has been applied: its proposals are history, which must not change.
    """
    with transaction(connection) as cursor:
        cursor.execute(sql.text(FOLDER, "lock_list"), {"list": name})
        row = cursor.fetchone()
        if row is not None and row["aplicada_em"] is not None:
            raise RequestError(
                f"list {name} was applied at {row['aplicada_em']}: trigger a new run to read it again"
            )
        cursor.execute(sql.text(FOLDER, "delete_proposals"), {"list": name})
        digest = hashlib.sha256(content).hexdigest()
        cursor.execute(
            sql.text(FOLDER, "upsert_list"), {"list": name, "origin": origin[:500], "digest": digest}
        )
        cursor.executemany(
            sql.text(FOLDER, "insert_proposal"),
            [
                {
                    "list": name,
                    "number": proposal.number,
                    "product": proposal.product,
                    "old": proposal.old,
                    "new": proposal.new,
                    "decision": proposal.decision,
                    "reason": proposal.reason,
                }
                for proposal in proposals
            ],
        )


def question(connection: Connection[DictCursor], name: str) -> Question | None:
    """Return the question to a person about the changes beyond the limit. None if there are none."""
    with connection.cursor() as cursor:
        rows = _to_approve(cursor, name)
    if not rows:
        return None
    lines = [
        # A product's name may contain Markdown: it is shown as it is.
        f"| {row['produto_id']} | {(row['nome'] or '').translate(_PLAIN)} | {row['preco_antigo']} | {row['preco_novo']} |"
        for row in rows[:SHOWN]
    ]
    more = f"\n\n… and {len(rows) - SHOWN} more, in `precos_propostos`." if len(rows) > SHOWN else ""
    head = (
        f"{len(rows)} changes are beyond the limit.\n\n| produto_id | nome | from | to |\n|---|---|---|---|\n"
    )
    return Question(head + "\n".join(lines) + more, _digest(rows))


def apply(connection: Connection[DictCursor], name: str, decision: Decision) -> dict[str, int]:
    """Apply the list in one transaction; return the number of lines per result. A second call changes nothing.

    Raises LeftoverError if the list was never read, or if the approved changes are not those of the list.
    """
    with transaction(connection) as cursor:
        cursor.execute(sql.text(FOLDER, "lock_list"), {"list": name})
        row = cursor.fetchone()
        if row is None:
            raise LeftoverError(f"list {name} was never read: clear the task that reads it")
        if row["aplicada_em"] is None:
            proposed = _digest(_to_approve(cursor, name))
            if decision.approved not in (None, proposed):
                raise LeftoverError(
                    f"the changes {decision.approved} were approved, but list {name} was read again and has the changes "
                    f"{proposed}: clear the task that asks, so that somebody decides about these"
                )
            values = {
                "list": name,
                "approved": decision.approved is not None,
                "by": decision.by,
                "decision": "recusada" if decision.approved is None else "aprovada",
            }
            # Each step locks rows in the order of their keys, so that two lists never deadlock.
            for step in (
                "refuse_proposals",
                "lock_products",
                "mark_conflicts",
                "insert_history",
                "update_prices",
                "mark_applied",
                "close_list",
            ):
                cursor.execute(sql.text(FOLDER, step), values)
        cursor.execute(sql.text(FOLDER, "count_proposals"), {"list": name})
        return {row["situacao"]: row["n"] for row in cursor.fetchall()}


def _to_approve(cursor: DictCursor, name: str) -> Sequence[dict[str, Any]]:
    cursor.execute(sql.text(FOLDER, "read_to_approve"), {"list": name})
    return cursor.fetchall()


def _digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return eight characters that differ for other changes: other lines, products, or prices."""
    changes = [
        f"{row['linha']} {row['produto_id']} {row['preco_antigo']} {row['preco_novo']}" for row in rows
    ]
    return hashlib.sha256("\n".join(changes).encode()).hexdigest()[:8]
