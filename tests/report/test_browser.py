"""The report in a real browser: no requests, no errors, legible on a desk, on a phone and on paper."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asterism.report import write_report
from tests.helpers.reporting import make_run, score

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(".heat .value")].map((cell) => {
    const look = getComputedStyle(cell), [a, b] = [light(look.color), light(look.backgroundColor)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two runs with everything that a report may hold."""
    root = tmp_path_factory.mktemp("rich")
    runs = [make_run(root / "narrow"), make_run(root / "wide")]
    domains = [f"domain_{i}" for i in range(11)]
    values = [[None if i == j else (i * 11 + j) / 121 for j in range(11)] for i in range(11)]
    for run in runs:
        score(run, matrices={"reached": {"rows": domains, "columns": domains, "values": values}})
    return write_report(runs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_requests_errors_or_overflow(browser: Any, rich: Path, scheme: str) -> None:
    """On a desk and on a phone; the values of a heat map have the contrast that WCAG AA asks of small text, 4.5."""
    for width in (1280, 380):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        requests, errors = [], []
        page.on("request", lambda request, to=requests: to.append(request.url))
        page.on("console", lambda message, to=errors: to.append(message.text))
        page.on("pageerror", lambda error, to=errors: to.append(str(error)))
        page.goto(rich.as_uri())
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == [] and errors == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert min(page.evaluate(CONTRAST)) >= 4.5
        page.close()


def test_the_curves_answer_to_the_pointer(browser: Any, rich: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(rich.as_uri())
    chart = page.locator(".chart").first
    chart.locator("> svg").hover()
    assert re.search(r"step\s*\d+.*narrow\s*-\d.*wide\s*-\d", chart.locator(".tip").inner_text(), re.DOTALL)
    assert chart.locator(".line").count() == 2
    chart.get_by_role("button", name="wide").click()
    assert chart.locator(".line").count() == 1
    before = chart.locator(".line").get_attribute("d")
    chart.get_by_role("button", name="log").click()
    assert chart.locator(".line").get_attribute("d") != before
    page.locator(".sheet img").first.press("Enter")
    assert page.locator("dialog img").is_visible()
    page.close()


def test_it_can_be_read_without_scripts_and_printed(browser: Any, rich: Path) -> None:
    """Curves are drawn, tables are there; on paper, what is folded on the screen is open."""
    still = browser.new_page(java_script_enabled=False)
    still.goto(rich.as_uri())
    assert still.locator(".chart > svg .line").count() == 6 and still.locator(".scores").is_visible()
    still.close()
    page = browser.new_page()
    page.goto(rich.as_uri())
    page.evaluate(
        "window.addEventListener('beforeprint', () => {"
        "window.printed = document.querySelectorAll('details:not([open])').length})"
    )
    assert page.locator("details:not([open])").count() == 1
    assert page.pdf().startswith(b"%PDF") and page.evaluate("window.printed") == 0
    page.close()
