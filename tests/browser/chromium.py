"""How the browser tests start Chromium, and how long they wait for what it shows."""

from __future__ import annotations

import shutil

from playwright.sync_api import expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
PATIENCE_MS = 60_000  # with a busy machine

expect.set_options(timeout=PATIENCE_MS)  # the library's own setting: it holds for all files of tests
