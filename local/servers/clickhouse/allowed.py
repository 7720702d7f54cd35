"""What the engine itself allows: grants, and constraints on settings. They hold for every spelling of a statement.

A setting that is a number, a switch or a word of a fixed list can't contain a path, an address or an expression. A text can;
so only the texts listed here may be changed. Switches that enable another language or another way to files may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

KNOWN = Path(__file__).with_name("fixed_settings.txt")

_TABLE_ENGINES = (
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
    "Log",
    "TinyLog",
    "StripeLog",
    "Memory",
    "Null",
    "Set",
    "Join",
    "Buffer",
    "Merge",
    "GenerateRandom",
    "View",
    "MaterializedView",
    "PostgreSQL",
    "Atomic",
)

# Without CREATE DICTIONARY: in an embedded engine, a dictionary with an EXECUTABLE source can run any program. FILE, URL and
# similar sources are missing too. POSTGRES is the only source that this project's warehouse reads.
GRANTS = (
    "GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, "
    "CREATE ARBITRARY TEMPORARY TABLE, CREATE FUNCTION, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY, "
    "SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM FLUSH, SYSTEM DROP CACHE, dictGet ON *.*",
    "GRANT POSTGRES ON *.*",
    *(f"GRANT TABLE ENGINE ON {engine}" for engine in _TABLE_ENGINES),
)

# Types, as in system.settings and system.merge_tree_settings. Types that are not listed are texts, or new ones.
_TYPES = frozenset(
    {
        *(
            "Bool",
            "BoolAuto",
            "Char",
            "Double",
            "Float",
            "FloatAuto",
            "Int32",
            "Int64",
            "UInt64",
            "UInt64Auto",
        ),
        *("UInt64Auto", "NonZeroUInt64", "MaxThreads", "Seconds", "Milliseconds", "Timezone"),
        *("DateTimeInputFormat", "DateTimeOutputFormat", "DateTimeOverflowBehavior", "IntervalOutputFormat"),
        *("JoinAlgorithm", "JoinStrictness", "JoinOrderAlgorithm", "JoinOrderConflictDetector", "TotalsMode"),
        *("OverflowMode", "OverflowModeGroupBy", "SetOperationMode", "ShortCircuitFunctionEvaluation"),
        *("LightweightDeleteMode", "AlterUpdateMode", "UpdateParallelMode", "DeduplicateInsertMode"),
        *(
            "DeduplicateInsertSelectMode",
            "DistributedProductMode",
            "LoadBalancing",
            "LogsLevel",
            "SchemaInferenceMode",
        ),
        *("EscapingRule", "IdentifierQuotingRule", "IdentifierQuotingStyle", "MsgPackUUIDRepresentation"),
        *("ArrowCompression", "ORCCompression", "ParquetCompression", "SnappyMode", "GeoToH3ArgumentOrder"),
        *(
            "AggregateFunctionInputFormat",
            "CapnProtoEnumComparingMode",
            "InputFormatColumnMatchingCaseSensitivity",
        ),
        *("QueryResultCacheNondeterministicFunctionHandling", "QueryResultCacheSystemTableHandling"),
        # Of tables.
        *("MergeSelectorAlgorithm", "LightweightMutationProjectionMode", "DeduplicateMergeProjectionMode"),
        *("MergeTreeSerializationInfoVersion", "MergeTreeStringSerializationVersion"),
    }
)
_TEXTS = frozenset(
    {
        *("bool_true_representation", "bool_false_representation", "format_csv_null_representation"),
        *("format_tsv_null_representation", "format_json_object_each_row_column_for_object_name"),
        *("format_custom_field_delimiter", "format_custom_result_before_delimiter"),
        *("format_custom_result_after_delimiter", "format_custom_row_before_delimiter"),
        *("format_custom_row_after_delimiter", "format_custom_row_between_delimiter", "format_regexp"),
        *("input_format_orc_reader_time_zone_name", "output_format_orc_writer_time_zone_name"),
        *(
            "output_format_avro_codec",
            "output_format_pretty_grid_charset",
            "output_format_sql_insert_table_name",
        ),
        # USE changes this one.
        "database",
        *("count_distinct_implementation", "insert_deduplication_token", "query_cache_tag"),
        *(
            "ignore_data_skipping_indices",
            "force_data_skipping_indices",
            "exclude_materialize_skip_indexes_on_insert",
        ),
        *("preferred_optimize_projection_name", "force_optimize_projection_name"),
        # Of tables.
        *("marks_compression_codec", "primary_key_compression_codec", "default_compression_codec"),
        *(
            "auto_statistics_types",
            "columns_to_prewarm_mark_cache",
            "exclude_materialize_skip_indexes_on_merge",
        ),
    }
)
_CLOSED = re.compile(
    r"dialect|eval_table|python|implicit_select|introspection|named_collection|credential|insecure|secret|outfile"
    r"|engine_file|file_read_method|jemalloc|stack_trace|os_thread|database_\w*catalog|allow_ddl"
    # The data of a table must be on the service's own disk.
    r"|^(?:table_)?disk"
)


def is_allowed(name: str, kind: str) -> bool:
    """Return whether a client may change the setting `name`, which has the engine's type `kind`."""
    return name in _TEXTS or (kind in _TYPES and not _CLOSED.search(name))


def fixed(query: Iterable[tuple[str, str]], table: Iterable[tuple[str, str]]) -> list[str]:
    """Return the settings that no client may change, from names and types of the settings of queries, and of tables."""
    names = [name for name, kind in query if not is_allowed(name, kind)]
    return names + [f"merge_tree_{name}" for name, kind in table if not is_allowed(name, kind)]


def known(version: str) -> list[str] | None:
    """Return what `fixed` returns for this version of chDB, from `fixed_settings.txt`; None for another version."""
    first, *names = KNOWN.read_text().splitlines()
    return names if first == f"chdb {version}" else None


def constraints(fixed: Iterable[str]) -> str:
    """Return a profile's constraints, as XML."""
    return "".join(f"<{name}><readonly/></{name}>" for name in fixed)
