"""Fixtures that more than one test module uses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.browser import browser, open_explorable, open_page, page, page_log, site, site_url

__all__ = ["browser", "open_explorable", "open_page", "page", "page_log", "site", "site_url"]


@pytest.fixture
def yaml_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes entries as a file of `data/`; returns its path."""

    def write(*entries: dict) -> Path:
        path = tmp_path / "entries.yml"
        path.write_text(yaml.safe_dump(list(entries), allow_unicode=True), encoding="utf-8")
        return path

    return write
