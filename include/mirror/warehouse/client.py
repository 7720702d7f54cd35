"""The connection to the warehouse, and the ClickHouse settings of the mirror's statements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from include.mirror import names
from include.mirror.errors import WarehouseError
from include.mirror.warehouse.cluster import Cluster

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

WIDE = {
    # Queries of a table with hundreds of columns are longer than ClickHouse allows by default. 0 allows any length.
    "max_query_size": 0,
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
}

SETTINGS = {
    **WIDE,
    # An insert returns when its rows are in a part, not when they are in a queue.
    "async_insert": 0,
    # NULL for a column that can't hold it is an error, not the type's default.
    "input_format_null_as_default": 0,
    "date_time_overflow_behavior": "throw",
    # An old window can touch every key range of a table.
    "max_partitions_per_insert_block": 0,
    "enable_time_time64_type": 1,
}

FINAL = {
    # All versions of a row are in the same partition.
    "do_not_merge_across_partitions_select_final": 1,
}

DROP = {
    # The limit is meant for people's mistakes; the mirror drops only what it has made. 0 is no limit.
    "max_table_size_to_drop": 0,
}


_LIMITS = (
    *("read_overflow_mode", "read_overflow_mode_leaf", "timeout_overflow_mode", "timeout_overflow_mode_leaf"),
    *("result_overflow_mode", "group_by_overflow_mode", "sort_overflow_mode", "set_overflow_mode"),
    *("join_overflow_mode", "distinct_overflow_mode", "transfer_overflow_mode"),
)

PINNED = {
    # What aggregates, IN, joins and casts return.
    "aggregate_functions_null_for_empty": 0,
    "empty_result_for_aggregation_by_empty_set": 0,
    "transform_null_in": 0,
    "join_use_nulls": 0,
    "any_join_distinct_right_table_keys": 0,
    "cast_keep_nullable": 0,
    "cast_ipv4_ipv6_default_on_conversion_error": 0,
    "decimal_check_overflow": 1,
    "count_distinct_implementation": "uniqExact",
    "prefer_column_name_to_alias": 0,
    "enable_positional_arguments": 1,
    "enable_named_columns_in_function_tuple": 0,
    "regexp_max_matches_per_row": 1000,
    # Which rows a query sees: all, as they are now.
    "final": 0,
    "additional_table_filters": "{}",
    "additional_result_filter": "",
    "apply_deleted_mask": 1,
    "apply_patch_parts": 1,
    "apply_mutations_on_fly": 0,
    "use_query_cache": 0,
    "force_primary_key": 0,
    "force_index_by_date": 0,
    # A query that reaches a limit of the profile fails; it never returns fewer rows.
    **dict.fromkeys(_LIMITS, "throw"),
    # Rows that can't be read are an error, not left out.
    "input_format_allow_errors_num": 0,
    "input_format_allow_errors_ratio": 0,
    # How values are printed and parsed.
    "session_timezone": "",
    "output_format_decimal_trailing_zeros": 0,
    "bool_true_representation": "true",
    "bool_false_representation": "false",
    "date_time_output_format": "simple",
    "date_time_64_output_format_cut_trailing_zeros_align_to_groups_of_thousands": 0,
    # What an insert does with given columns and with missing ones.
    "input_format_defaults_for_omitted_fields": 1,
    "input_format_arrow_allow_missing_columns": 1,
    "input_format_arrow_case_insensitive_column_matching": 0,
    "max_insert_block_size": 1_048_449,
    "wait_for_async_insert": 1,
    # What a CREATE or ALTER makes.
    "data_type_default_nullable": 0,
    "flatten_nested": 1,
    "alter_sync": 1,
}
"""Settings that a user's profile may change, and that would change what the mirror reads or writes: pinned to defaults."""

_FORBIDDEN = (164, 452)
"""ClickHouse's error codes: a setting that the user may not change, and a value that a constraint forbids."""


@dataclass(frozen=True)
class Warehouse:
    """A ClickHouse server, or an engine inside this process.

    `connect` returns a new client at each call: a client's session runs one query at a time. With a `cluster`, all of
    them reach the same replica: a stage is on that one alone. `opened` is the client of a `shared` one.
    """

    connect: Callable[[], Client]
    storage: str
    views: str
    cluster: Cluster | None = None
    opened: Client | None = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client whose results don't depend on its user's profile, and close it when the block ends.

        Raises WarehouseError if the user has a setting that the mirror needs otherwise and may not change it.
        """
        if self.opened is not None:
            yield self.opened
            return
        client = self.connect()
        try:
            _pin(client)
            yield client
        finally:
            client.close()

    def lazy_client(self, resources: ExitStack) -> Callable[[], Client]:
        """Return a function that opens a client at its first call and returns it. It is closed when `resources` end."""
        return cache(lambda: resources.enter_context(self.client()))

    @contextmanager
    def shared(self) -> Iterator[Self]:
        """Yield this warehouse with one client, which everything in the block uses, one after the other.

        To open a client costs two queries: the server's version and its settings.
        """
        with self.client() as client:
            yield replace(self, opened=client)

    def insert(self, client: Client, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, all of them or none, to one of the mirror's own tables. All rows must have the same columns."""
        client.raw_insert(
            names.ch(self.storage, table),
            insert_block="\n".join(json.dumps(row, default=_json) for row in rows).encode(),
            settings=SETTINGS,
            fmt="JSONEachRow",
        )

    def create(self, client: Client, statement: str) -> None:
        """Run one CREATE statement; with a cluster, on all of its replicas."""
        client.command(
            statement if self.cluster is None else self.cluster.render(statement), settings=SETTINGS
        )


def ask(
    client: Client, questions: Mapping[str, str], parameters: Mapping[str, Any]
) -> dict[str, Sequence[Sequence[Any]]]:
    """Return the rows of several queries, by name, in one statement.

    The server may run them in any order.
    """
    selected = ", ".join(
        f"(SELECT groupArray(tuple(*)) FROM (\n{query}\n)) AS {names.ch(name)}"  # noqa: S608
        for name, query in questions.items()
    )
    row = client.query(f"SELECT {selected}", parameters=dict(parameters), settings=WIDE).result_rows[0]
    return dict(zip(questions, row, strict=True))


def _json(value: object) -> str:
    """Return a value as ClickHouse reads it in JSON: a time in UTC, as its columns are, and decimals with all digits."""
    if isinstance(value, datetime):
        return f"{utc(value):%Y-%m-%d %H:%M:%S.%f}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def utc(value: datetime) -> datetime:
    """Return a time from a client in UTC. Depending on its configuration, a client returns UTC columns without a zone."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _pin(client: Client) -> None:
    """Set on a client the settings that the mirror needs and its user's profile has otherwise."""
    from clickhouse_connect.driver.exceptions import Error as ClickHouseError

    for name in ("limit", "offset"):
        # The client reads its list of settings by a query. A limit or offset cuts that list too, so others may be missing.
        if name not in client.server_settings or client.server_settings[name].value != "0":
            raise WarehouseError(
                f"ClickHouse's user has a {name} for all queries, which cuts every answer short: take it out of the user's "
                "profile"
            )
    other = {}
    for name, wanted in {**SETTINGS, **PINNED}.items():
        known, value = client.server_settings.get(name), str(wanted)
        # An older server does not know all settings.
        if known is None or (known.value == value and client.get_client_setting(name) in (None, value)):
            continue
        if known.readonly:
            raise WarehouseError(
                f"ClickHouse's user has {name} = {known.value!r} and may not change it, and the mirror needs {value!r}: "
                "change it in the user's profile, or remove the constraint on it"
            )
        if name in PINNED:
            other[name] = value
    for name, value in other.items():
        client.set_client_setting(name, value)
    if not other:
        return
    try:
        client.command("SELECT 1")
    except ClickHouseError as error:
        if error.code not in _FORBIDDEN:
            raise
        raise WarehouseError(
            f"ClickHouse's user may not have the settings that the mirror needs ({', '.join(other)}): remove the "
            f"constraints on them. ClickHouse says: {' '.join(str(error).split())}"
        ) from None
