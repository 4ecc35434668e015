"""What `labs.book.explorables.explorable` displays, before any browser runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from labs.book import explorables
from labs.book.explorables import Explorable, explorable


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared library beside one small explorable called `demo`."""
    for name in ("explorable.js", "explorable.css"):
        (tmp_path / name).write_text((explorables.SCRIPTS / name).read_text("utf-8"), "utf-8")
    (tmp_path / "demo.js").write_text('Explorable.register("demo", (ui) => () => {});\n', "utf-8")
    monkeypatch.setattr(explorables, "SCRIPTS", tmp_path)
    return tmp_path


def shown(data: dict, title: str = "Where the bytes are", text: str = "one line") -> Explorable:
    return explorable("demo", data, title=title, static_html="<p>16 bytes</p>", text=text)


def data_in(page: str) -> str:
    return re.search(r'class="explorable-data">(.*?)</script>', page)[1]


def test_data_travels_whole_on_one_line() -> None:
    data = {"text": "a </script><!-- b\n c", "array": np.array([[1.5, 2]]), "n": np.int64(3)}
    block = data_in(shown(data)._repr_html_())
    assert json.loads(block) == {"text": data["text"], "array": [[1.5, 2.0]], "n": 3}
    assert "\n" not in block
    assert "<" not in block


def test_text_is_the_stable_line() -> None:
    assert repr(shown({}, text="attention of head 3")) == "attention of head 3"


def test_static_state_stands_in_the_page() -> None:
    page = shown({})._repr_html_()
    assert "<p>16 bytes</p>" in page
    assert explorables.NOTE in page


def test_two_figures_have_two_ids() -> None:
    ids = [
        re.search(r'<figure class="explorable" id="([^"]+)"', shown({}, title)._repr_html_())[1]
        for title in ("Where the bytes are", "Where they go")
    ]
    assert ids == ["explorable-demo-where-the-bytes-are", "explorable-demo-where-they-go"]


def test_nothing_is_requested() -> None:
    page = shown({})._repr_html_().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|\bsrc=|@import|url\(", page)


def test_own_style_is_added(scripts: Path) -> None:
    (scripts / "demo.css").write_text(".demo { color: red; }\n", "utf-8")
    assert ".demo { color: red; }" in shown({})._repr_html_()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"data": {"loss": float("nan")}}, ValueError),
        ({"data": {"model": object()}}, TypeError),
        ({"data": {}, "text": "two\nlines"}, ValueError),
    ],
)
def test_what_cannot_be_shown_is_an_error(change: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        shown(**change)


def test_script_that_would_end_itself_is_an_error(scripts: Path) -> None:
    (scripts / "demo.js").write_text('"</script>"', "utf-8")
    with pytest.raises(ValueError, match="closing script"):
        shown({})


def test_unknown_explorable_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.js"):
        explorable("nowhere", {}, title="t", static_html="", text="t")
