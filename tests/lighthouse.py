"""Scores of the built site in Lighthouse: `python -m tests.lighthouse` (or `make lighthouse`).

Audits four pages with the presets for phones and for desktops and keeps the medians in
`data/measurements/lighthouse.json`. Network and processor are Lighthouse's simulated ones, which it
computes from an unthrottled load on this machine; a busy machine still lowers the score, and its
`benchmark_index` tells. The pages
come compressed, as every host of static pages sends them. Lighthouse is a program for Node, which
nothing else here needs: `npx` brings it, pinned, and the Chromium is the one that the tests use.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import gzip
import http.server
import json
import mimetypes
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from labs.book.files import write_json
from tests.browser import FLAGS, INSTALL_BY_HAND, ROOT, SITE, find_chromium

LIGHTHOUSE = "12.8.2"  # the last release for Node 20
RESULTS = ROOT / "data" / "measurements" / "lighthouse.json"
PAGES = ("index.html", "ledger.html", "chapters/06_attention.html", "chapters/14_zero_memory.html")
PRESETS = ("mobile", "desktop")
CATEGORIES = ("performance", "accessibility", "best-practices")
METRICS = {  # milliseconds, but for the layout shift, which has no unit
    "first-contentful-paint": "first_paint_ms",
    "largest-contentful-paint": "largest_paint_ms",
    "total-blocking-time": "blocked_ms",
    "cumulative-layout-shift": "layout_shift",
}
COMPRESSED = {".html", ".css", ".js", ".svg", ".json"}
NEEDS_NODE = (
    "`make lighthouse` needs Node 18.20 or newer with npx, which is not installed here: "
    "install the packages `nodejs` and `npm` of your system."
)


class _Host(http.server.BaseHTTPRequestHandler):
    """Files of one folder as a host of static pages sends them: compressed, connections kept."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, folder: Path, **kwargs: Any):
        self.folder = folder
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        file = self.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", mimetypes.guess_type(file.name)[0] or "text/plain")
        self.send_header("Cache-Control", "max-age=600")
        if file.suffix in COMPRESSED:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Address of `folder` on this machine, with a slash at the end."""
    handler = functools.partial(_Host, folder=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def audit(url: str, preset: str, chromium: str) -> dict[str, Any]:
    """Lighthouse's report on one load of `url`. Raises CalledProcessError where it gives none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            "npx", "--yes", f"lighthouse@{LIGHTHOUSE}", url, "--quiet", "--output=json",
            f"--output-path={report}", f"--only-categories={','.join(CATEGORIES)}",
            "--no-enable-error-reporting", f"--chrome-flags={' '.join(['--headless=new', *FLAGS])}",
        ]  # fmt: skip
        command += ["--preset=desktop"] if preset == "desktop" else []
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": chromium})
        return json.loads(report.read_text("utf-8"))


def median_scores(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores out of 100, metrics and the audits that failed in any of the loads of one page."""
    scores = {
        name: [round(100 * report["categories"][name]["score"]) for report in reports]
        for name in CATEGORIES
    }
    metrics = {
        short: [report["audits"][name]["numericValue"] for report in reports]
        for name, short in METRICS.items()
    }
    return {
        **{name: statistics.median_low(values) for name, values in scores.items()},
        **{
            name: round(statistics.median(values), 3 if name == "layout_shift" else 0)
            for name, values in metrics.items()
        },
        "performance_of_each_load": scores["performance"],
        # how fast this machine was at that moment: far apart, it was busy with something else
        "benchmark_index_of_each_load": [
            round(report["environment"]["benchmarkIndex"]) for report in reports
        ],
        "failed": sorted({name for report in reports for name in failed(report)}),
    }


def failed(report: dict[str, Any]) -> list[str]:
    """Audits that take something from the score of accessibility or of best practices."""
    return [
        reference["id"]
        for category in CATEGORIES[1:]
        for reference in report["categories"][category]["auditRefs"]
        if reference["weight"] and report["audits"][reference["id"]]["score"] not in (1, None)
    ]


def surroundings(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Versions, machine and simulated network of an audit, from one report of each preset."""
    any_report = next(iter(reports.values()))
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    chromium = re.search(r"Chrome/[\d.]+", any_report["environment"]["hostUserAgent"])
    names = {"rttMs": "round_trip_ms", "throughputKbps": "kbit_per_s"}
    names["cpuSlowdownMultiplier"] = "processor_slowed"
    return {
        "date": datetime.date.today().isoformat(),
        "lighthouse": any_report["lighthouseVersion"],
        "chromium": chromium[0].removeprefix("Chrome/") if chromium else "unknown",
        "machine": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "server": "gzip, HTTP/1.1, 127.0.0.1",
        "throttling": {
            preset: {"method": report["configSettings"]["throttlingMethod"]}
            | {to: report["configSettings"]["throttling"][name] for name, to in names.items()}
            for preset, report in reports.items()
        },
    }


def measure(pages: list[str], loads: int, chromium: str, keep: Path | None) -> dict[str, Any]:
    """Audit `pages` with both presets, print a line for each, return what the file holds."""
    results: dict[str, Any] = {}
    last: dict[str, dict[str, Any]] = {}
    with hosted(SITE) as address:
        for page in pages:
            for preset in PRESETS:
                reports = [audit(address + page, preset, chromium) for _ in range(loads)]
                last[preset] = reports[-1]
                scores = results.setdefault(page, {})[preset] = median_scores(reports)
                print(f"{page:32}{preset:9}", *(f"{n} {scores[n]:3}" for n in CATEGORIES), sep="  ")
                if keep:
                    name = f"{page.replace('/', '-')}-{preset}.json"
                    write_json(keep / name, reports[-1])
    return surroundings(last) | {"loads": loads, "pages": results}


def main() -> int:
    """Audit, print, keep. The exit status is 1 where it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", default=list(PAGES))
    parser.add_argument("--loads", type=int, default=3, help="the medians of so many are kept")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--reports", type=Path, help="a folder for the last report of each page")
    options = parser.parse_args()
    if shutil.which("npx") is None:
        print(NEEDS_NODE, file=sys.stderr)
        return 1
    chromium = find_chromium()
    if chromium is None:
        print(INSTALL_BY_HAND, file=sys.stderr)
        return 1
    result = measure(options.pages, options.loads, chromium, options.reports)
    write_json(options.output, result, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
