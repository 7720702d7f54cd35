"""The ClickHouse side: a collection is there as a whole or not at all, and a run has exactly one.

Each attempt to collect has an id of its own, and all its rows carry it. Views show the rows of attempts that stand in
the ledger, `coleta`, and no others.

    1  insert evento, contagem, recusado    nobody sees them: their attempt is not in the ledger
    2  insert the ledger row                the commit: one row in one INSERT, so it is there or not
    3  read the run's ledger row back       whoever came first

Killed after 1: the rows stay, belong to no collection and are never shown; a retry collects anew under another id.
Killed after 2: a retry finds the run's row and collects nothing; CSV and warehouse get the same counts. Two attempts
of one run at once (one that Airflow gave up on may still run): the ledger row has the run's id as deduplication token,
so the server drops the second, and step 3 tells both of them about the first. Where tokens are not kept (a table that
somebody made anew without the setting), `coletas` shows the one that was collected first.

An INSERT that a network sent twice adds rows with the same key; the tables are Replacing, and read with FINAL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from include.conventions import sql
from include.ocorrencias.collection import Coleta, Contagem
from include.ocorrencias.models import Evento
from include.ocorrencias.responsibility import KnownPop

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

FOLDER = "ocorrencias_cet_rio"
TABLES = ("coleta", "evento", "contagem", "recusado", "pop")
# In this order: some are made of others.
VIEWS = ("coletas", "contagens", "eventos", "eventos_atuais", "por_bairro_e_hora", "recusados")
DATABASE = "ocorrencias"
REPLAYED = "ocorrencias_replay"
"""What was replayed stands apart from what was true."""

SETTINGS = {
    # An insert answers when its rows are in a part, not when they are in a queue.
    "async_insert": 0,
    "input_format_null_as_default": 0,
    "date_time_overflow_behavior": "throw",
}


@dataclass(frozen=True)
class Registro:
    """A run's row in the ledger, with its counts; the fields are the columns of `coleta`."""

    execucao: str
    momento: datetime
    coletado_em: datetime
    dia: date
    gravacao: str
    eventos: int
    de_outros: int
    recusados: int
    repetidos: int
    atraso: str
    pops_desconhecidos: Sequence[int]
    avisos: Sequence[str]
    requisicoes: int
    tentativas: Mapping[str, int]
    retentativas: int
    coleta: UUID = field(default_factory=uuid4)
    contagens: tuple[Contagem, ...] = ()


class Archive:
    """A database of a ClickHouse server, through a client that is its own."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self.database = database

    def create(self) -> None:
        """Create what is missing; what exists stays as it is."""
        self._client.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        # The texts name no database, so that each stands for both.
        self._client.database = self.database
        for name in (*TABLES, *(f"view_{view}" for view in VIEWS)):
            self._client.command(sql.text(FOLDER, f"create_{name}"), settings=SETTINGS)

    def find(self, execucao: str) -> Registro | None:
        """Return what was collected in a run, None when it has not been."""
        answer = self._client.query(sql.text(FOLDER, "read_coleta"), parameters={"execucao": execucao})
        if not answer.result_rows:
            return None
        row = dict(zip(answer.column_names, answer.result_rows[0], strict=True))
        row |= {name: _utc(row[name]) for name in ("momento", "coletado_em")}
        counts = self._client.query(
            sql.text(FOLDER, "read_contagens"),
            parameters={"momento": row["momento"], "coleta": row["coleta"]},
        ).result_rows
        return Registro(**row, contagens=tuple(Contagem(*count) for count in counts))

    def pops(self) -> dict[int, KnownPop]:
        """Return what is known of every POP."""
        rows = self._client.query(sql.text(FOLDER, "read_pops")).result_rows
        return {row[0]: KnownPop(row[0], row[1], bool(row[2]), tuple(row[3]), _utc(row[4])) for row in rows}

    def keep_pop(self, pop: KnownPop) -> None:
        """Keep what was learned of a POP; true whatever becomes of the run."""
        row = (pop.id, pop.titulo, pop.responsavel, list(pop.orgaos), pop.consultado_em)
        self._insert("pop", ("pop_id", "titulo", "responsavel", "orgaos", "consultado_em"), [row])

    def publish(self, registro: Registro, coleta: Coleta) -> Registro:
        """Write a collection, and return what the ledger has of the run: this one, or that of who came first."""
        common = {"momento": registro.momento, "coleta": registro.coleta}
        self._insert_dicts("evento", [common | _event(one, coleta) for one in coleta.eventos])
        self._insert_dicts(
            "contagem",
            [
                common
                | {
                    "tipo_ocorrencia": one.tipo,
                    "status_ocorrencia": one.status,
                    "quantidade_ocorrencia": one.quantidade,
                }
                for one in coleta.contagens
            ],
        )
        self._insert_dicts(
            "recusado", [common | {"numero": n} | vars(one) for n, one in enumerate(coleta.recusados)]
        )
        row = {name: value for name, value in vars(registro).items() if name != "contagens"}
        self._insert_dicts("coleta", [row], {"insert_deduplication_token": registro.execucao})
        found = self.find(registro.execucao)
        if found is None:
            raise RuntimeError(f"the ledger row of run {registro.execucao} was written and is not there")
        return found

    def _insert_dicts(
        self, table: str, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any] | None = None
    ) -> None:
        if rows:
            names = tuple(rows[0])
            self._insert(table, names, [tuple(row[name] for name in names) for row in rows], settings)

    def _insert(
        self,
        table: str,
        names: Sequence[str],
        rows: Sequence[Sequence[Any]],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if rows:
            self._client.insert(
                table,
                rows,
                column_names=list(names),
                database=self.database,
                settings={**SETTINGS, **(settings or {})},
            )


@contextmanager
def opened(client: Client, database: str) -> Iterator[Archive]:
    """Create what is missing in the database, hand it over, and close the client when the block ends."""
    try:
        archive = Archive(client, database)
        archive.create()
        yield archive
    finally:
        client.close()


def _event(one: Evento, coleta: Coleta) -> dict[str, Any]:
    place = one.place or (None, None)
    return {
        "evento_id": one.id,
        "pop_id": one.pop_id,
        "tipo_ocorrencia": coleta.pops.pops[one.pop_id].titulo,
        "status": one.status.upper(),
        "titulo": one.titulo,
        "tipo": one.tipo,
        "bairro": one.bairro,
        "gravidade": one.gravidade,
        "prazo": one.prazo,
        "descricao": one.descricao,
        "inicio": one.inicio,
        "latitude": place[0],
        "longitude": place[1],
        "informe_id": one.informe_id,
        "anexos": min(one.anexos, 65535),
    }


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
