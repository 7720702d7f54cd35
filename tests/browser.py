"""A headless Chromium, for tests of pages in a real browser: the machine's own, or Debian's, fetched once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.deployment.settings import DEFAULT_FOLDER
from local.servers.debian import unpack

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Without these, Chromium calls servers of its vendor, and its sandbox does not work for root or in a container.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a running browser, which does not use the user's own profile."""
    # Imported here, not at collection: only tests of a page need the driver's process.
    from playwright.sync_api import sync_playwright

    environment: dict[str, str | float | bool] = {**os.environ}
    if (own := shutil.which("chromium")) is not None:
        program = own
    else:
        unpacked = unpack(DEFAULT_FOLDER / "debian", ["chromium", "fonts-liberation"])
        program = str(unpacked.program("/usr/lib/chromium/chromium"))
        environment |= unpacked.environment()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, env=environment)
        yield browser
        browser.close()
