"""Storing outputs: counts from 1 to n, no trace of the machine, and nothing written on failure."""

import base64
import io
import json

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image

from labs.book import store


def notebook(tmp_path, *sources):
    cells = [v4.new_markdown_cell("text"), *map(v4.new_code_cell, sources)]
    path = tmp_path / "n.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"editor": "somebody's"}), path)
    return path


def test_outputs_are_stored_in_order(tmp_path):
    path = notebook(tmp_path, "for i in range(2): print(i, flush=True)", "1 + 1")
    cost = store.store(path)
    stored = nbformat.read(path, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2]
    assert [output.text for output in code[0].outputs] == ["0\n1\n"]
    assert code[1].outputs[0].data["text/plain"] == "2"
    assert not any("execution" in cell.metadata for cell in code)
    assert set(stored.metadata) == {"kernelspec", "language_info", "book"}
    assert set(stored.metadata.book) == {"versions", "machine", "date"}
    assert cost["seconds"] > 0 and cost["peak_rss_bytes"] > 1_000_000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "did not run"),
        ("import sys; print('a warning', file=sys.stderr)", "wrote to stderr: a warning"),
    ],
)
def test_a_failing_notebook_is_left_as_it_was(tmp_path, source, message):
    path = notebook(tmp_path, source)
    before = path.read_bytes()
    with pytest.raises(store.StoreError, match=message):
        store.store(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_times_of_chapters_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "__file__", str(tmp_path / "labs" / "book" / "store.py"))
    target = tmp_path / "data" / "measurements" / "chapters.json"
    target.parent.mkdir(parents=True)
    for seconds in (3.0, 2.0):
        store.record(tmp_path / "01_x.ipynb", {"seconds": seconds, "peak_rss_bytes": 5})
    kept = json.loads(target.read_text())["01_x"][store.scale().name]
    assert kept["seconds"] == 2.0 and {"machine", "date"} <= kept.keys()


def test_figures_become_small_and_stay_what_they_were():
    figure, ax = plt.subplots(figsize=(6, 3), facecolor="none")
    for k in range(6):
        ax.plot(range(50), [(i * k) % 17 for i in range(50)])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    png = base64.b64encode(buffer.getvalue()).decode()
    small = store.smaller_png(png)
    assert len(small) < 0.6 * len(png)
    assert store.smaller_png(small) == small
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(p))).convert("RGBA"), dtype=int)
        for p in (png, small)
    )
    assert before.shape == after.shape
    assert ((before[..., 3] == 0) == (after[..., 3] == 0)).all()  # the ground stays transparent
    drawn = before[..., 3] > 0
    assert abs(before - after)[drawn].mean() < 6 and (before[drawn] != after[drawn]).any()
