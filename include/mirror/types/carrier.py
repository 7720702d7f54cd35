"""What one PostgreSQL type has to answer so that its values arrive exactly, and so that anyone can check that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
"""One 64-bit integer per value, 0 for NULL: what range checks and digests are made of."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Carrier:
    """How the values of one column travel.

    `warehouse_type` is the column's ClickHouse type as `system.columns` prints it, such as `Nullable(Decimal(10, 2))`.
    The SQL of both servers is made from an identifier that is already quoted:

    * `read`: the PostgreSQL expression that the extraction selects;
    * `altered`: a PostgreSQL condition that is true for a value that the way to the warehouse would change without an
      error, such as an array of two dimensions; None where there is none;
    * `digest`: a ClickHouse expression that gives, per value, the number that `numbers` gives of the Arrow batch,
      modulo 2^64, and 0 for NULL;
    * `source_text` and `warehouse_text`: the same text of a value on both sides, NULL for NULL. They take another way
      than `read` and `digest`.

    And of the Arrow arrays that the extraction gives:

    * `accepts`: whether an Arrow type is what `read` was meant to give;
    * `numbers`: one integer per value;
    * `not_held`: which values the ClickHouse type can't hold (out of its range, NaN, …), None where none is; NULLs are
      not its business;
    * `convert`: the array as ClickHouse takes it.

    `scale` is the number of decimals where `numbers` counts the smallest units of a decimal; None for anything else.
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
