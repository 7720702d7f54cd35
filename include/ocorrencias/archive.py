"""The collections in ClickHouse: a collection is there completely or not at all, and a run has exactly one.

Each attempt to collect has its own id, and all its rows have this id. The views show only the rows of attempts that are
in the ledger, the table `coleta`.

    1  insert evento, contagem, recusado    not visible yet: the attempt is not in the ledger
    2  insert the ledger row                the commit: one row in one INSERT, so it is there or not
    3  read the run's ledger row            it is the row of the first attempt that got to step 2

Killed after 1: the rows stay, but are never shown; a retry collects again under another id. Killed after 2: a retry finds
the run's row and collects nothing, so CSV and warehouse get the same counts. Two attempts of one run at once (a task that
Airflow gave up on may still run): the ledger row has the run's id as its deduplication token, so the server drops the
second row, and both attempts read the first one in step 3. If the server keeps no tokens (because somebody created the
table again without the setting), the view `coletas` shows the attempt that was collected first.

If the network sends an INSERT twice, there are rows with the same key: the tables are ReplacingMergeTree, and are read
with FINAL.
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
# In this order: some views read other views.
VIEWS = ("coletas", "contagens", "eventos", "eventos_atuais", "por_bairro_e_hora", "recusados")
DATABASE = "ocorrencias"
REPLAYED = "ocorrencias_replay"
"""The database of replayed collections, apart from the real ones."""

SETTINGS = {
    # An INSERT returns when its rows are written to a part, not when they are in a buffer.
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
    """A database of a ClickHouse server. The client must not be shared."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self.database = database

    def create(self) -> None:
        """Create missing tables and views; existing ones stay unchanged."""
        self._client.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        # The statements name no database, so that they work for both.
        self._client.database = self.database
        for name in (*TABLES, *(f"view_{view}" for view in VIEWS)):
            self._client.command(sql.text(FOLDER, f"create_{name}"), settings=SETTINGS)

    def find(self, execucao: str) -> Registro | None:
        """Return the collection of a run, or None if there is none."""
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
        """Return all known POPs by id."""
        rows = self._client.query(sql.text(FOLDER, "read_pops")).result_rows
        return {row[0]: KnownPop(row[0], row[1], bool(row[2]), tuple(row[3]), _utc(row[4])) for row in rows}

    def keep_pop(self, pop: KnownPop) -> None:
        """Store a POP. It is valid even if the run fails later."""
        row = (pop.id, pop.titulo, pop.responsavel, list(pop.orgaos), pop.consultado_em)
        self._insert("pop", ("pop_id", "titulo", "responsavel", "orgaos", "consultado_em"), [row])

    def publish(self, registro: Registro, coleta: Coleta) -> Registro:
        """Write a collection; return the run's collection in the ledger: this one, or that of an earlier attempt."""
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
            raise RuntimeError(f"the ledger row of run {registro.execucao} was written, but can't be found")
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
    """Yield the archive with missing tables created; close the client when the block ends."""
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
