"""A headless Chromium for tests of pages. Without one, such tests are skipped and name the command that installs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium to open the page in: apt-get install -y chromium"
)

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. As root, Chromium has no sandbox."""
    with sync_playwright() as playwright:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


class Opened:
    """A page as a reader sees it; `complaints` holds every warning and error of the console, `asked` every request."""

    def __init__(self, browser: Browser, file: Path, width: str = "desktop", scheme: Any = "light") -> None:
        wide, high = WIDTHS[width]
        self.context = browser.new_context(viewport={"width": wide, "height": high}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda one: self.complaints.append(one.text) if one.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def read_through(self) -> None:
        """Scroll to the end, so that every chart is drawn."""
        for chart in self.page.locator(".chart").all():
            if chart.is_visible():
                chart.scroll_into_view_if_needed()
        self.page.wait_for_function(
            "[...document.querySelectorAll('.chart')].every((one) => one.querySelector('svg, p') || !one.offsetParent)"
        )

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def sticking_out(self) -> list[str]:
        """The elements that reach beyond the right edge of the window and cannot be scrolled to."""
        return self.page.evaluate(
            """() => [...document.body.querySelectorAll('*')].filter((one) => {
                const box = one.getBoundingClientRect();
                return box.width && box.right > innerWidth + 1 && !one.closest('.scroll, .skip, svg *');
            }).map((one) => one.outerHTML.slice(0, 120))"""
        )
