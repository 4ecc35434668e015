"""A real Chromium on the built site: fixtures for tests, and the search for a Chromium.

Fixtures: `site` (the built pages on disk), `site_url` (served on 127.0.0.1), `browser`, `open_page`
(any theme, width, with or without scripts), `page` (light, 1280 px) and `open_explorable` (a page
with nothing but one explorable; `outputs` moves its controls and reads its numbers). Whatever a
test does with a page, it fails afterwards when the page asked another host for something, missed a
file or wrote an error to the console.

`python -m tests.browser --ensure` finds a Chromium, installs one when there is none and it may,
or stops with one sentence.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from labs.book.explorables import explorable

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
SOURCES = (
    "_config.yml", "_toc.yml", "*.md", "*.ipynb", "references.bib", "chapters/*.ipynb",
    "data/*.yml", "web/**/*", "_templates/**/*", "_ext/*.py",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
INSTALLERS = {
    "apt-get": "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q chromium",
    "dnf": "dnf install -y -q chromium",
    "apk": "apk add --quiet chromium",
    "zypper": "zypper --non-interactive install chromium",
}
INSTALL_BY_HAND = (
    "The tests of the site need Chromium, which could not be installed here: install the package "
    "`chromium` of your system, or run `.venv/bin/playwright install --with-deps chromium`."
)


def find_chromium() -> str | None:
    """Path of a Chromium that runs: the system's, else Playwright's own, else None."""
    candidates = [path for path in map(shutil.which, NAMES) if path]
    with sync_playwright() as playwright:
        candidates.append(playwright.chromium.executable_path)
    return next((path for path in candidates if _runs(path)), None)


def ensure_chromium() -> str | None:
    """`find_chromium()`, after installing one if need be; None when that did not help either."""
    found = find_chromium()
    if found is None and os.geteuid() == 0:
        manager = next((name for name in INSTALLERS if shutil.which(name)), None)
        if manager:
            subprocess.run(INSTALLERS[manager], shell=True, check=False)
            found = find_chromium()
    if found is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
        found = find_chromium()
    return found


def _runs(path: str) -> bool:
    """Whether this is a browser: some systems have a script there that only asks to install one."""
    try:
        version = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return b"Chrom" in version.stdout


@dataclass
class Log:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def watch(self, page: Page, site_url: str) -> None:
        """Record the requests of `page`, and as problems what must not happen."""

        def requested(url: str) -> None:
            self.requests.append(url)
            if not url.startswith((site_url, "data:", "blob:")):
                self.problems.append(f"asked another host: {url}")

        def complained(text: str, where: str) -> None:
            self.problems.append(f"console error: {text} ({where})")

        page.on("request", lambda request: requested(request.url))
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("console", lambda m: m.type == "error" and complained(m.text, m.location["url"]))


def check_built(site: Path = SITE, root: Path = ROOT) -> None:
    """Fail with one sentence when the site is missing or older than what it is built from."""
    stamp = site / ".built"
    if not stamp.exists():
        pytest.fail("The site is not built: run `make book` first.", pytrace=False)
    built = stamp.stat().st_mtime
    for pattern in SOURCES:
        newer = [path for path in root.glob(pattern) if path.stat().st_mtime > built]
        if newer:
            name = newer[0].relative_to(root)
            pytest.fail(f"The site is older than {name}: run `make book` first.", pytrace=False)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built pages, complete and up to date."""
    check_built()
    return SITE


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def site_url(site: Path) -> Iterator[str]:
    """Address of the site on this machine, with a slash at the end."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests."""
    path = find_chromium()
    if path is None:
        pytest.fail(INSTALL_BY_HAND, pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def page_log() -> Log:
    """What the pages of this test asked for and complained about."""
    return Log()


@pytest.fixture
def open_page(browser: Browser, site_url: str, page_log: Log) -> Iterator[OpenPage]:
    """`open_page("index.html", theme="dark", width=390, scripts=True)` opens a page of the site."""
    contexts = []

    def opened(path: str, *, theme: str = "light", width: int = 1280, scripts: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=scripts,
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page_log.watch(page, site_url)
        page.goto(site_url + path, wait_until="load")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not page_log.problems, "\n".join(page_log.problems)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The landing page, light, 1280 px wide; go elsewhere with `page.goto(site_url + path)`."""
    return open_page("index.html")


# Moves every control to its value as a reader would, and reads all results.
READ_OUTPUTS = """(settings) => {
  const figure = document.querySelector('figure.explorable[data-ready=true]');
  return settings.map((setting) => {
    for (const [name, value] of Object.entries(setting)) {
      const input = figure.querySelector(`[data-control="${name}"]`);
      input.value = value;
      input.dispatchEvent(new Event(input.type === "range" ? "input" : "change"));
    }
    return Object.fromEntries([...figure.querySelectorAll("[data-output]")].map(
      (output) => [output.dataset.output, output.dataset.value]));
  });
}"""


def outputs(
    page: Page, settings: list[dict[str, object]], kind: Callable[[str], object] = str
) -> list[dict[str, object]]:
    """The outputs of the explorable on `page` after each setting of {control: value}, as `kind`.

    Settings follow one another: a control that a setting does not name stays where it was.
    """
    seen = page.evaluate(READ_OUTPUTS, settings)
    return [{name: kind(value) for name, value in numbers.items()} for numbers in seen]


@pytest.fixture
def open_explorable(browser: Browser) -> Iterator[Callable[[str, object], Page]]:
    """`open_explorable("losses", data)` opens a page with nothing but this explorable."""
    pages, problems = [], []

    def opened(script: str, data: object) -> Page:
        figure = explorable(script, data, title=script, static_html="<p>static</p>", text=script)
        page = browser.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.set_content(figure._repr_html_())
        page.wait_for_selector("figure[data-ready=true]")
        return page

    yield opened
    for page in pages:
        page.close()
    assert not problems, "\n".join(problems)


def main() -> int:
    """Print the path of a Chromium, or say how to get one."""
    found = ensure_chromium() if "--ensure" in sys.argv else find_chromium()
    print(found or INSTALL_BY_HAND, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
