"""The reports, and their filters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.conventions import sql
from include.tarefas.errors import RequestError

MOST_ROWS = 10_000


@dataclass(frozen=True)
class Kind:
    """A report. In its plot, the column `label` names a row, and `measure` is its value in `unit`."""

    name: str
    title: str
    label: str
    measure: str
    unit: str
    rows: int
    timeline: bool = False

    @property
    def query(self) -> str:
        """Return the SQL, whose parameters are the filters."""
        return sql.text("executar_tarefa", f"read_{self.name}")


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("vendas_por_dia", "Vendas por dia", "data", "valor_total", "R$", MOST_ROWS, timeline=True),
        Kind("vendas_por_uf", "Vendas por UF", "uf", "valor_total", "R$", 100),
        Kind("produtos_mais_vendidos", "Produtos mais vendidos", "produto", "quantidade", "unidades", 20),
    )
}


class Filters(BaseModel):
    """The filters of a report. Both days are included."""

    model_config = ConfigDict(extra="forbid", strict=True)

    de: date | None = None
    ate: date | None = None
    uf: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    limite: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None

    def parameters(self, kind: Kind) -> dict[str, Any]:
        """Return the query's bound parameters."""
        return {"de": self.de, "ate": self.ate, "uf": self.uf, "limite": self.limite or kind.rows}

    def __str__(self) -> str:
        """Return the filters that are set, as text for people."""
        given = self.model_dump(mode="json", exclude_none=True)
        return ", ".join(f"{name} {value}" for name, value in given.items()) or "none"


def parse(filters: dict[str, Any]) -> Filters:
    """Return the filters from JSON data. Raises RequestError, which names the invalid one."""
    try:
        found = Filters.model_validate_json(json.dumps(filters))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise RequestError(
                f"there is no filter {name!r}; there are {', '.join(Filters.model_fields)}"
            ) from None
        raise RequestError(
            f"filter {name} can't be {first['input']!r}: {first['msg']}; as in"
            ' {"de": "2026-01-01", "ate": "2026-01-31", "uf": "SP", "limite": 20}'
        ) from None
    if found.de and found.ate and found.de > found.ate:
        raise RequestError(f"filter de {found.de} is after ate {found.ate}: nothing could be found")
    return found
