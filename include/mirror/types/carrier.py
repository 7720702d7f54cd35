"""The interface of a type: how a column's values are read, checked, converted and compared, so that they arrive exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
"""One 64-bit integer for each value, 0 for NULL. Range checks and digests are computed from them."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Carrier:
    """How the values of one column travel.

    `warehouse_type` is the column's ClickHouse type as `system.columns` prints it, such as `Nullable(Decimal(10, 2))`.
    These functions take a quoted identifier and return SQL:

    * `read`: the PostgreSQL expression that the extraction selects.
    * `altered`: a PostgreSQL condition, true for values that would arrive changed without an error, such as an array of two
      dimensions. None if there are no such values.
    * `digest`: a ClickHouse expression. For each value, it gives the same number as `numbers` gives for the Arrow batch,
      modulo 2^64, and 0 for NULL.
    * `source_text` and `warehouse_text`: expressions that print the same text of a value on both sides, NULL for NULL. They
      are independent of `read` and `digest`.

    These functions take the Arrow arrays of the extraction:

    * `accepts`: whether an Arrow type is the one that `read` should give.
    * `numbers`: one integer for each value.
    * `not_held`: a mask of the values that the ClickHouse type can't hold (out of range, NaN, …), None if there are none.
      NULLs are checked elsewhere.
    * `convert`: the array for ClickHouse.

    `scale` is the number of decimals if `numbers` counts a decimal's smallest units, else None.
    """

    warehouse_type: str
    nullable: bool
    read: Callable[[str], str]
    digest: Callable[[str], str]
    source_text: Callable[[str], str]
    warehouse_text: Callable[[str], str]
    accepts: Callable[[Any], bool]
    numbers: Callable[[pa.Array], Numbers]
    not_held: Callable[[pa.Array, Numbers], Mask | None]
    convert: Callable[[pa.Array, Numbers], pa.Array]
    altered: Callable[[str], str] | None = None
    scale: int | None = None
