"""Print docs/types.md: `python -m include.mirror.types`."""

from __future__ import annotations

import sys

from include.mirror.types.docs import page

if __name__ == "__main__":
    sys.stdout.write(page())
