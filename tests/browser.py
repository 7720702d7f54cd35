"""A headless Chromium for pages that only a browser can judge: the machine's own, or Debian's, fetched once."""

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

# It asks for hosts of its maker otherwise, and its sandbox needs more than a container or root has.
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
    """Yield a running browser, which takes nothing from the profile of whoever calls."""
    # Not where pytest collects: the driver is a process that only those who look at a page need.
    from playwright.sync_api import sync_playwright

    environment = dict(os.environ)
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
