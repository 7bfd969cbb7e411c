"""Writes the pictures of the README: ``make screenshots`` while ``make run`` runs; needs Chromium."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "images"
PAGES = {"today": "/", "delivery": "/delivery", "incidents": "/incidents"}
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def main(address: str = "http://127.0.0.1:8000") -> None:
    """Take each page light and dark."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: there is no chromium: install it (Debian, Ubuntu: apt install chromium)")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1100, "height": 760})
            for name, path in PAGES.items():
                page.goto(address + path, wait_until="load")
                page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
