"""The work of the tasks of `ocorrencias_cet_rio`: collect, append to the CSV, summarize."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from include.conventions import conf as checks
from include.conventions import queues
from include.conventions.errors import ConfigurationError, RequestError
from include.ocorrencias import archive, connections, csv_file, replay
from include.ocorrencias.archive import Registro
from include.ocorrencias.client import Client, Transport
from include.ocorrencias.collection import Contagem, collect, resolve_day
from include.ocorrencias.service import Service
from include.ocorrencias.settings import Settings

log = logging.getLogger(__name__)

CONF_KEYS = ("modo", "gravacao", "data", "aceitar_desatualizados")
SERVICE, REPLAY = "servico", "replay"
LATEST = timedelta(hours=1)
"""How late a run may still request data: the service knows only the present."""


def check_conf(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conf with its defaults. Raises RequestError for an unknown key or an invalid value."""
    checks.refuse_unknown([key for key in conf if key != queues.KEY], CONF_KEYS)
    options = {key: conf[key] for key in CONF_KEYS if conf.get(key) is not None}
    mode = options.setdefault("modo", SERVICE)
    if mode not in (SERVICE, REPLAY):
        raise RequestError(f"modo is {mode!r}; it must be {SERVICE} or {REPLAY}")
    if mode == SERVICE and "gravacao" in options:
        raise RequestError(f"gravacao is for modo {REPLAY} only")
    options["aceitar_desatualizados"] = checks.flag(options, "aceitar_desatualizados")
    return options


def collect_run(settings: Settings, conf: Mapping[str, Any], run_id: str, moment: datetime) -> dict[str, Any]:
    """Collect for a run, unless that was done already; return the summary as values for JSON."""
    options = check_conf(conf)
    database = archive.DATABASE if options["modo"] == SERVICE else archive.REPLAYED
    now = datetime.now(UTC)
    with archive.opened(connections.warehouse(), database) as opened:
        if found := opened.find(run_id):
            log.info("this run was collected at %s already; that collection is kept", found.coletado_em)
            return _summary(found)
        # Not earlier: a collected run may be cleared when the service no longer answers for its day.
        day = resolve_day(options.get("data"), moment, now)
        client = Client(_transport(settings, options, moment, now), settings.policy)
        coleta = collect(
            Service(client),
            day,
            opened.pops(),
            options["aceitar_desatualizados"] or settings.accept_stale,
            settings.cache,
            now,
            opened.keep_pop,
        )
        for one in coleta.recusados:
            log.warning("set aside: %s", one)
        for warning in coleta.pops.warnings:
            log.warning("%s", warning)
        registro = Registro(
            execucao=run_id,
            momento=moment,
            coletado_em=now,
            dia=coleta.dia,
            gravacao=options.get("gravacao", ""),
            eventos=len(coleta.eventos),
            de_outros=coleta.de_outros,
            recusados=len(coleta.recusados),
            repetidos=coleta.repetidos,
            atraso=coleta.atraso or "",
            pops_desconhecidos=list(coleta.pops.unknown),
            avisos=list(coleta.pops.warnings),
            requisicoes=client.requests,
            tentativas=dict(client.tries),
            retentativas=client.retries,
        )
        return _summary(opened.publish(registro, coleta))


def append_csv(settings: Settings, summary: Mapping[str, Any]) -> int:
    """Append a run's counts to the CSV; return how many lines were added, 0 if they were there already."""
    if settings.folder is None:
        raise ConfigurationError("OCORRENCIAS_PASTA is not set: it must name the folder of the CSV file")
    # Replayed counts go to another folder, as they go to another database.
    folder = settings.folder / "replay" if summary["gravacao"] else settings.folder
    counts = [Contagem(*count) for count in summary["contagens"]]
    added = csv_file.append(folder, datetime.fromisoformat(summary["momento"]), counts)
    log.info("%d lines added to %s", added, folder / csv_file.NAME)
    return added


def report(summary: Mapping[str, Any]) -> str:
    """Return a run's counts and tries as text tables."""
    from rich.console import Console
    from rich.table import Table

    counts = Table(title=headline(summary), title_justify="left")
    for heading in ("tipo_ocorrencia", "status_ocorrencia"):
        counts.add_column(heading)
    counts.add_column("quantidade", justify="right")
    for kind, status, number in summary["contagens"]:
        counts.add_row(kind, status, str(number))
    tries = Table("request", "tries")
    for path, number in summary["tentativas"].items():
        tries.add_row(path, str(number))
    # The service's texts must not be read as Rich markup.
    console = Console(width=110, file=StringIO(), record=True, markup=False, emoji=False)
    console.print(counts, tries)
    return console.export_text()


def headline(summary: Mapping[str, Any]) -> str:
    """Return the most important numbers of a run, on one line."""
    retries, unknown = summary["retentativas"], len(summary["pops_desconhecidos"])
    parts = [f"replay of {summary['gravacao']}"] if summary["gravacao"] else []
    parts += [f"{summary['eventos']} ocorrências", f"{retries} {'retry' if retries == 1 else 'retries'}"]
    if summary["recusados"]:
        parts.append(f"{summary['recusados']} set aside")
    if unknown:
        parts.append(f"{unknown} unknown {'POP' if unknown == 1 else 'POPs'}")
    if summary["atraso"]:
        parts.append("stale")
    return " · ".join(parts)


def unknown_pops(summary: Mapping[str, Any]) -> str:
    """Return the unknown POPs as a text, for an alert; empty for a replay, which shows nothing about the service now."""
    return "" if summary["gravacao"] else ", ".join(map(str, summary["pops_desconhecidos"]))


def _transport(settings: Settings, options: Mapping[str, Any], moment: datetime, now: datetime) -> Transport:
    if options["modo"] == REPLAY:
        return replay.load(settings.recordings, options.get("gravacao"))
    if now - moment > LATEST:
        raise RequestError(
            f"this run's time is {moment:%Y-%m-%d %H:%M}Z, and the service knows only the present: "
            "trigger a new run instead"
        )
    return connections.service(settings.policy)


def _summary(registro: Registro) -> dict[str, Any]:
    return {
        "execucao": registro.execucao,
        "momento": registro.momento.isoformat(),
        "dia": registro.dia.isoformat(),
        "gravacao": registro.gravacao,
        "eventos": registro.eventos,
        "de_outros": registro.de_outros,
        "recusados": registro.recusados,
        "repetidos": registro.repetidos,
        "atraso": registro.atraso,
        "pops_desconhecidos": list(registro.pops_desconhecidos),
        "avisos": list(registro.avisos),
        "requisicoes": registro.requisicoes,
        "tentativas": dict(registro.tentativas),
        "retentativas": registro.retentativas,
        "contagens": [[one.tipo, one.status, one.quantidade] for one in registro.contagens],
    }
