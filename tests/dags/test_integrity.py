"""Every DAG file: exactly the expected DAGs, no import error, and the conventions that all of them share."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.airflow_mirror import settings
from include.conventions import alerts
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.pools import AUTOMACOES, FONTE_VENDAS, FONTE_VENDAS_BACKGROUND
from include.conventions.pools import load as load_pools
from include.conventions.queues import Queue
from include.conventions.tags import Tag
from include.dag_docs import page
from include.ocorrencias import settings as ocorrencias
from include.vendas.tables import VENDAS

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    *("agendar_jobs", "etl_vendas", "executar_tarefa", "ocorrencias_cet_rio", "ola"),
    *("reconciliar_vendas", "marts_vendas"),
    *("criacao_produtos", "atualizacao_precos", "etl_produtos", "etl_pedidos", "migracao_completa"),
    *("consumir_fila_rabbitmq", "consumir_fila_sqs"),
}
FILES = sorted((ROOT / "dags").rglob("*.py"))
# Airflow imports these in every process, also in those of tasks.
EVERYWHERE = [*sorted((ROOT / "plugins").glob("*.py")), ROOT / "config" / "airflow_local_settings.py"]
MOST_MODULES = 30
"""How many modules of the project a DAG file loads at most."""
# What a DAG file must not load: the scheduler's parser pays for it every time, and chDB must not be forked.
HEAVY = [
    "psycopg",
    "psycopg2",
    "clickhouse_connect",
    "chdb",
    "pandas",
    "pyarrow",
    "adbc_driver_postgresql",
    "pymysql",
    "pika",
    "boto3",
]


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    # Safe mode would pass over a broken file that does not look like a DAG.
    return DagBag(dag_folder=str(ROOT / "dags"), safe_mode=False)


def test_the_dags_are_exactly_these(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == EXPECTED


def test_the_page_of_all_dags_is_what_they_say(bag: Any) -> None:
    assert (ROOT / "docs" / "dags.md").read_text() == page(bag.dags), "run `make dags`"


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_conventions(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert dag.doc_md
    assert "```json" in dag.doc_md, "the documentation shows an example conf"
    assert dag.tags
    assert set(dag.tags) <= {tag.value for tag in Tag}
    assert set(dag.params.get_param("queue").schema["enum"]) == {None, *Queue}
    assert dag.on_failure_callback == [alerts.on_run_failure]
    pools = {pool.name for pool in load_pools()}
    for task in dag.tasks:
        assert task.owner == DEFAULT_ARGS["owner"]
        assert task.queue in list(Queue)
        assert task.on_failure_callback == [alerts.on_failure]
        assert task.on_retry_callback == [alerts.on_retry]
        assert task.pool in {"default_pool", *pools}
        assert task.retries >= 1
        assert task.retry_exponential_backoff
        assert timedelta() < task.execution_timeout <= timedelta(hours=6)


def test_etl_vendas_reads_data_intervals(bag: Any) -> None:
    from airflow.sdk import CronDataIntervalTimetable

    dag = bag.dags["etl_vendas"]
    assert type(dag.timetable) is CronDataIntervalTimetable
    assert dag.timetable.expression == settings.load("vendas").schedule == "*/2 * * * *"
    assert not dag.catchup


def test_both_schedules_of_a_mirror_go_by_the_clock_of_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("ETL_VENDAS_SCHEDULE", "0 3 * * *")
    monkeypatch.setenv("ETL_VENDAS_TIMEZONE", "America/Sao_Paulo")
    again = DagBag(dag_folder=str(ROOT / "dags" / "vendas" / "etl_vendas.py"), safe_mode=False)
    timetables: list[Any] = [dag.timetable for dag in again.dags.values()]
    assert [str(timetable.timezone) for timetable in timetables] == 2 * ["America/Sao_Paulo"]
    monkeypatch.setenv("ETL_VENDAS_TIMEZONE", "Brasil")
    with pytest.raises(
        ValueError, match=r"ETL_VENDAS_TIMEZONE is 'Brasil'.*a time zone, like America/Sao_Paulo"
    ):
        settings.load("vendas")


def test_each_scenario_of_the_store_has_a_queue_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    chosen = {"PRODUTOS": Queue.HIGH, "MENSAGENS": Queue.LOW, "CARGAS": Queue.DEFAULT}
    for group, queue in chosen.items():
        monkeypatch.setenv(f"LOJA_TAREFAS_{group}", queue)
    again = DagBag(dag_folder=str(ROOT / "dags" / "loja"), safe_mode=False)
    for dag_id, dag in again.dags.items():
        group = "MENSAGENS" if dag_id.startswith("consumir") else "CARGAS"
        if dag_id in ("criacao_produtos", "atualizacao_precos"):
            group = "PRODUTOS"
        assert {task.queue for task in dag.tasks} == {chosen[group]}, dag_id
    assert len(again.dags) == 7


def test_etl_pedidos_says_in_its_form_which_changes_a_run_by_hand_reads(bag: Any) -> None:
    params = bag.dags["etl_pedidos"].params
    assert set(params) >= {"inicio", "fim"}
    assert "For later changes, give a range." in params.get_param("inicio").description


def test_agendar_jobs_ticks_each_minute_one_at_a_time_and_before_what_it_starts(bag: Any) -> None:
    from airflow.sdk import CronTriggerTimetable

    dag = bag.dags["agendar_jobs"]
    assert type(dag.timetable) is CronTriggerTimetable
    assert dag.timetable.expression == "* * * * *"
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    [task] = dag.tasks
    assert task.queue == Queue.HIGH


def test_the_page_warehouse_finds_the_mirror_by_its_asset(bag: Any) -> None:
    from include.pages.warehouse.mirrors import place

    [asset] = bag.dags["etl_vendas"].get_task("check").outlets
    found = place("etl_vendas", asset.uri, asset.extra)
    assert found is not None
    assert (found.source, found.warehouse) == (VENDAS.source, VENDAS.warehouse)
    assert (found.storage, found.views) == (VENDAS.storage, VENDAS.views)
    assert {found.moves, found.compares} <= set(bag.dags)


def test_etl_vendas_is_late_when_its_setting_says_so(bag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    assert not bag.dags["etl_vendas"].deadline
    monkeypatch.setenv("ETL_VENDAS_LATE_SECONDS", "600")
    again = DagBag(dag_folder=str(ROOT / "dags" / "vendas" / "etl_vendas.py"), safe_mode=False)
    deadline = again.dags["etl_vendas"].deadline
    assert isinstance(deadline, list)
    [deadline] = deadline
    assert deadline.interval == timedelta(minutes=10)
    assert deadline.callback.path == "include.conventions.alerts.on_deadline"


def test_etl_vendas_is_plan_mirror_check(bag: Any) -> None:
    dag = bag.dags["etl_vendas"]
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "plan_windows": {"mirror", "check"},
        "mirror": {"check"},
        "check": set(),
    }
    assert [outlet.name for outlet in dag.get_task("check").outlets] == ["vendas_dw"]
    assert [outlet.name for outlet in dag.get_task("mirror").outlets] == ["vendas_dw.*"]
    assert {task.task_id for task in dag.tasks if task.pool == FONTE_VENDAS} == {"mirror"}
    reconciling = bag.dags["reconciliar_vendas"].tasks
    assert {task.task_id for task in reconciling if task.pool == FONTE_VENDAS_BACKGROUND} == {"compare"}


def test_a_run_of_etl_vendas_leaves_a_slot_to_the_next(bag: Any) -> None:
    slots = {pool.name: pool.slots for pool in load_pools()}
    assert bag.dags["etl_vendas"].max_active_runs == 3
    assert settings.load("vendas", {}).tasks < min(slots[FONTE_VENDAS], slots[FONTE_VENDAS_BACKGROUND])


def test_ocorrencias_cet_rio_asks_for_the_present_and_piles_nothing_up(bag: Any) -> None:
    from airflow.sdk import AssetAlias, CronTriggerTimetable

    dag = bag.dags["ocorrencias_cet_rio"]
    assert type(dag.timetable) is CronTriggerTimetable
    assert dag.timetable.expression == ocorrencias.Settings.load().schedule == "*/20 * * * *"
    assert str(dag.timetable.timezone) == "America/Sao_Paulo"
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert dag.dagrun_timeout == timedelta(minutes=20)
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "coletar": {"anexar_csv", "resumir"},
        "anexar_csv": {"resumir"},
        "resumir": set(),
    }
    # An alias: of two assets, a run emits that of where it wrote.
    assert [(type(one), one.name) for one in dag.get_task("resumir").outlets] == [
        (AssetAlias, "ocorrencias_cet_rio")
    ]
    # Whoever collects has all the time that its client may take, and some to write.
    limit = timedelta(seconds=ocorrencias.Settings.load().policy.limit)
    assert limit < dag.get_task("coletar").execution_timeout < dag.dagrun_timeout


@pytest.mark.parametrize(
    "conf",
    [
        {"modo": "http"},
        {"gravacao": "../x"},
        {"data": "ontem"},
        {"data": 5},
        {"aceitar_desatualizados": "sim"},
    ],
    ids=json.dumps,
)
def test_params_of_ocorrencias_cet_rio_refuse_what_a_schema_can_check(bag: Any, conf: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = bag.dags["ocorrencias_cet_rio"].params
    name, value = next(iter(conf.items()))
    with pytest.raises(ParamValidationError):
        params[name] = value


def test_executar_tarefa_holds_nothing_back_before_the_queues(bag: Any) -> None:
    from local.deployment.compose import airflow_environment, defaults

    dag = bag.dags["executar_tarefa"]
    shared = airflow_environment({name: value or "x" for name, value in defaults().items()})
    slots = {pool.name: pool.slots for pool in load_pools()}
    assert dag.max_active_runs == dag.max_active_tasks == slots[AUTOMACOES] >= 600
    assert int(shared["AIRFLOW__CORE__PARALLELISM"]) >= slots[AUTOMACOES] + 128, "beside a full default_pool"
    assert [(task.task_id, task.pool) for task in dag.tasks] == [("executar", AUTOMACOES)]
    assert not dag.is_paused_upon_creation


def test_the_form_of_executar_tarefa_suggests_what_there_is(bag: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    dag = bag.dags["executar_tarefa"]
    assert "mail.send_email" in dag.params.get_param("tarefa").schema["examples"]
    assert r"- mail.send\_email(email: str" in dag.params.get_param("tarefa").schema["description_md"]
    for name, value in (("tarefa", 5), ("args", {}), ("kwargs", []), ("module", 1), ("function", ["x"])):
        with pytest.raises(ParamValidationError):
            dag.params[name] = value


def test_the_form_offers_tables_to_choose_and_takes_the_dates_of_its_picker(bag: Any) -> None:
    tables = ["pais", "cidade", "cliente", "produto", "venda", "item_venda"]
    for dag_id, name in (
        ("etl_vendas", "tabelas"),
        ("etl_vendas", "reconstruir"),
        ("reconciliar_vendas", "tabelas"),
    ):
        assert bag.dags[dag_id].params.get_param(name).schema["examples"] == tables
    params = bag.dags["etl_vendas"].params
    # As the UI's script writes a date: in UTC, with milliseconds.
    for value in ("2026-01-01T00:00:00.000Z", None):
        params["inicio"] = value
        assert params["inicio"] == value


@pytest.mark.parametrize(
    "conf",
    [
        {"inicio": 5},
        {"inicio": "yesterday"},
        {"inicio": "2026-01-01T00:00:00"},
        {"fim": "2026-01-01"},
        {"tabelas": []},
        {"tabelas": ["vendas"]},
        {"tabelas": "venda"},
        {"reconstruir": []},
        {"reconstruir": ["vendas"]},
        {"queue": "urgent"},
        {"queue": ["high"]},
    ],
    ids=json.dumps,
)
def test_params_refuse_what_a_schema_can_check(bag: Any, conf: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = bag.dags["etl_vendas"].params
    name, value = next(iter(conf.items()))
    with pytest.raises(ParamValidationError):
        params[name] = value


@pytest.mark.parametrize(
    "instant", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+00:00", "2026-01-01 00:00-03:00"]
)
def test_params_take_instants_with_a_zone(bag: Any, instant: str) -> None:
    params = bag.dags["etl_vendas"].params
    params["inicio"] = instant
    assert params["inicio"] == instant
    params["inicio"] = None


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each DAG file loads, or the error that it raises: in processes forked from one that has the SDK alone."""
    program = f"""
import json, os, runpy, sys, traceback
import airflow.sdk
print(json.dumps({{"airflow.sdk": [name for name in {HEAVY!r} if name in sys.modules]}}), flush=True)
before = set(sys.modules)
for path in sys.argv[1:]:
    if os.fork() == 0:
        try:
            runpy.run_path(path)
            found = sorted(set(sys.modules) - before)
        except BaseException:
            found = traceback.format_exc()
        print(json.dumps({{path: found}}), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, FILES + EVERYWHERE)],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {path: found for answer in answers for path, found in answer.items()}


def test_the_sdk_itself_loads_nothing_heavy(loaded: dict[str, Any]) -> None:
    assert loaded["airflow.sdk"] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_file_loads_nothing_heavy_in_a_process_of_its_own(path: Path, loaded: dict[str, Any]) -> None:
    found = loaded[str(path)]
    assert isinstance(found, list), found
    assert not {name.partition(".")[0] for name in found} & set(HEAVY)
    # The work of tasks is imported by the tasks.
    ours = [name for name in found if name.startswith("include")]
    assert len(ours) <= MOST_MODULES
    assert not [
        name
        for name in ours
        if re.match(r"include\.(\w+\.(tasks|etl)|mirror\.(run|move|engine|contract))", name)
    ]


@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: path.stem)
def test_what_every_process_imports_is_little(path: Path, loaded: dict[str, Any]) -> None:
    found = loaded[str(path)]
    assert isinstance(found, list), found
    assert {name.partition(".")[0] for name in found} - sys.stdlib_module_names <= {"airflow", "include"}
    # A plugin's code is imported where it is used; the policy has conventions only.
    ours = [name for name in found if name.startswith("include")]
    assert len(ours) <= (0 if path.parent.name == "plugins" else 12)


def test_the_engine_imports_neither_airflow_nor_dags() -> None:
    for path in sorted((ROOT / "include" / "mirror").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"airflow", "dags", "plugins", "local"}, f"{path.name} imports {roots}"


def test_the_engine_names_no_customer_and_no_connection() -> None:
    folders = [ROOT / "include" / "mirror", ROOT / "include" / "sql" / "mirror"]
    for path in sorted(
        path for folder in folders for path in folder.rglob("*.*") if path.suffix in (".py", ".sql")
    ):
        text = path.read_text()
        if path.name == "declaration.py":
            text = text.split('"""', 2)[2]  # what the module shows as an example
        assert not re.search("vendas|postgres_vendas|clickhouse_dw", text), path


def test_no_declaration_can_be_skipped_by_airflow(tmp_path: Path) -> None:
    """Airflow leaves out files that lack two words; the import that each declaration needs holds both."""
    from airflow.utils.file import might_contain_dag

    path = tmp_path / "estoque.py"
    path.write_text("from include.airflow_mirror import load, mirror_dags\n")
    assert might_contain_dag(str(path), safe_mode=True)
    path.write_text("import include\n")
    assert not might_contain_dag(str(path), safe_mode=True)


def test_a_declaration_that_is_wrong_still_loads() -> None:
    from include.airflow_mirror import mirror_dags
    from include.mirror.declaration import Mirror, Table

    wrong = Mirror(
        "errado", "postgres_x", "clickhouse_x", "same", "same", [Table("a..b", way="never"), Table("a..b")]
    )
    dags = mirror_dags(wrong, settings.load("errado"), doc_md=None, tags=[])
    assert [dag.dag_id for dag in dags] == ["etl_errado", "reconciliar_errado"]


def test_the_loja_knows_airflow_only_where_it_meets_it() -> None:
    meets = {"connections.py", "waiting.py"}
    for path in sorted((ROOT / "include" / "loja").rglob("*.py")):
        imports_airflow = any(
            line.strip().startswith(("from airflow", "import airflow"))
            for line in path.read_text().splitlines()
        )
        assert not imports_airflow or path.name in meets, path.name


@pytest.mark.parametrize(
    ("dag_id", "expression", "wiring"),
    [
        (
            "criacao_produtos",
            "* * * * *",
            # The last one decides on the run's state, and runs whatever became of the others: it asks both.
            {"reservar": {"criar", "avisar"}, "criar": {"avisar"}, "avisar": set()},
        ),
        (
            "atualizacao_precos",
            "0 2 * * *",
            {"ler_lista": {"aprovar"}, "aprovar": {"aplicar"}, "aplicar": set()},
        ),
        (
            "etl_produtos",
            "0 0 * * *",
            {"extrair": {"carregar", "validar"}, "carregar": {"validar"}, "validar": set()},
        ),
        (
            "etl_pedidos",
            "0 1 * * *",
            {"extrair": {"carregar", "validar"}, "carregar": {"validar"}, "validar": set()},
        ),
        (
            "migracao_completa",
            "0 3 * * 0",
            {"planejar": {"mover"}, "mover": {"carregar"}, "carregar": {"comparar"}, "comparar": set()},
        ),
    ],
)
def test_the_store_runs_when_its_crontab_did_and_never_two_at_once(
    bag: Any, dag_id: str, expression: str, wiring: dict[str, set[str]]
) -> None:
    dag = bag.dags[dag_id]
    assert dag.timetable.expression == expression
    assert "America/Sao_Paulo" in str(dag.timetable.timezone)
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == wiring


def test_a_broker_that_is_away_or_hangs_holds_up_the_next_products_for_minutes_at_most(bag: Any) -> None:
    avisar = bag.dags["criacao_produtos"].get_task("avisar")
    # The next run sends what is left, and waits for this one.
    assert (avisar.retries + 1) * avisar.execution_timeout <= timedelta(minutes=5)


def test_etl_pedidos_reads_data_intervals(bag: Any) -> None:
    from airflow.sdk import CronDataIntervalTimetable

    assert type(bag.dags["etl_pedidos"].timetable) is CronDataIntervalTimetable


@pytest.mark.parametrize("dag_id", ["consumir_fila_rabbitmq", "consumir_fila_sqs"])
def test_the_queue_workers_plan_consume_and_measure_one_run_at_a_time(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert dag.max_active_runs == 1
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        # The last one decides on the run's state, and runs whatever became of the others: it asks both.
        "planejar": {"consumir", "medir"},
        "consumir": {"medir"},
        "medir": set(),
    }
    assert dag.get_task("medir").trigger_rule == "all_done"


def test_the_queues_on_sqs_are_watched_and_those_on_rabbitmq_asked_every_minute(bag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    assert bag.dags["consumir_fila_rabbitmq"].timetable.expression == "* * * * *"
    watched = DagSerialization.to_dict(bag.dags["consumir_fila_sqs"])
    triggers = [
        watcher["trigger"]
        for asset in watched["dag"]["timetable"]["__var"]["asset_condition"]["objects"]
        for watcher in asset["watchers"]
    ]
    assert triggers == [
        {
            "classpath": "include.loja.queues.waiting.MessagesWait",
            "kwargs": {"queue": queue, "seconds": 15.0},
        }
        for queue in ("produto-fila", "pedido-fila", "usuario-fila")
    ]


def test_a_change_beyond_the_limit_is_refused_unless_somebody_approves_it(bag: Any) -> None:
    asked = bag.dags["atualizacao_precos"].get_task("aprovar")
    assert asked.partial_kwargs["defaults"] == "Recusar"
    assert timedelta() < asked.partial_kwargs["response_timeout"] < timedelta(days=1)
    one = asked.unmap({"body": "A question", "options": ["Aprovar 1f0c9a7e", "Recusar"]})
    assert (one.options, one.defaults) == (["Aprovar 1f0c9a7e", "Recusar"], ["Recusar"])
    # The answer to an earlier question, of a list that was read again since.
    with pytest.raises(ValueError, match="not in"):
        one.validate_chosen_options(["Aprovar 0a0b0c0d"])


def test_the_ocorrencias_import_no_airflow() -> None:
    for path in sorted((ROOT / "include" / "ocorrencias").glob("*.py")):
        assert not re.search(r"(from|import) airflow", path.read_text()), path


def test_nothing_imports_local_but_local_and_tests() -> None:
    for folder in ("dags", "include", "plugins", "config"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            assert "from local" not in text, path
            assert "import local" not in text, path


def test_settings_that_make_no_sense_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_VENDAS_GRACE_SECONDS", "soon")
    with pytest.raises(ValueError, match="ETL_VENDAS_GRACE_SECONDS is 'soon'; it must be a whole number"):
        settings.load("vendas")
