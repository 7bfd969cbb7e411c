"""The page in a browser: it fits, it prints on two pages, and it asks for nothing."""

import re
import shutil
from pathlib import Path

import pytest

from smarttext_pipelines.reports.month_forms import in_report_form
from smarttext_pipelines.reports.month_view import report_of
from smarttext_pipelines.reports.report_form import ReportForm
from smarttext_pipelines_tests.reports.fullest import fullest_month

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_fullest_month_prints_on_two_pages_and_fits_a_telephone(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    file = tmp_path / "report.html"
    file.write_text(in_report_form(report_of(fullest_month()), ReportForm.html), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 360, "height": 740})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        for paper in ("A4", "Letter"):
            # Chromium's pages are objects of their own type in the file.
            printed = page.pdf(format=paper, print_background=True)
            assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == 2, paper
        assert asked == [file.as_uri()]
        assert not errors
        browser.close()
