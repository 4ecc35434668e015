"""Run notebooks in a fresh kernel and keep their outputs: `python -m labs.book.store NOTEBOOK …`.

What is stored is what nbval will compare: no progress bars, no stderr, no cell times, counts from
1 to n, and in the notebook's metadata the versions, the machine and the day.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import sys
import time
from datetime import date
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from labs.book.files import write_json
from labs.book.machine import hardware, scale, versions

CELL_TIMEOUT = 900  # seconds


class StoreError(RuntimeError):
    """A notebook did not run, or printed what no reader should see."""


def run(path: Path) -> tuple[nbformat.NotebookNode, dict]:
    """Execute a notebook in its own folder; returns it with its outputs, and seconds and memory.

    Raises StoreError with the failing cell's code and error.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    start, peak = time.perf_counter(), 0
    try:
        with client.setup_kernel():
            kernel = psutil.Process(client.km.provisioner.pid)
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
                peak = max(peak, kernel.memory_info().rss)
    except CellExecutionError as error:
        raise StoreError(f"{path.name} did not run:\n{error}") from None
    return notebook, {"seconds": round(time.perf_counter() - start, 1), "peak_rss_bytes": peak}


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what changes from run to run, number the cells that ran, and join stdout."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "book": {
                "versions": versions().split(";")[0],
                "machine": hardware(),
                "date": date.today().isoformat(),
            },
        }
    )
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = _joined(cell.outputs)
        if cell.source.strip():
            count += 1
            cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller_png(output.data["image/png"])
    return notebook


def smaller_png(encoded: str) -> str:
    """A base64 PNG with a palette of 256 colours, transparency kept, where that saves bytes.

    A drawn figure loses nothing that can be seen and two thirds of its size, which every reader of
    the page loads. Applied twice it changes nothing more.
    """
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    if image.mode == "P":
        return encoded
    palette = image.convert("RGBA").quantize(256, Image.Quantize.FASTOCTREE, dither=0)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", optimize=True)
    small = base64.b64encode(buffer.getvalue()).decode("ascii")
    return small if len(small) < len(encoded) else encoded


def _joined(outputs: list) -> list:
    """Neighbouring pieces of one stream become one output: their cuts are chance."""
    joined: list = []
    for output in outputs:
        last = joined[-1] if joined else None
        same = last and output.output_type == last.output_type == "stream"
        if same and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def refuse_stderr(notebook: nbformat.NotebookNode, name: str) -> None:
    """Raises StoreError when a cell wrote to stderr: a warning belongs mended, not stored."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise StoreError(f"{name}: a cell wrote to stderr: {output.text.strip()[:500]}")


def record(path: Path, cost: dict) -> None:
    """Keep time and memory of the run in `data/measurements/chapters.json`, by scale."""
    target = Path(__file__).resolve().parents[2] / "data" / "measurements" / "chapters.json"
    known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    entry = {**cost, "machine": hardware(), "date": date.today().isoformat()}
    known.setdefault(path.stem, {})[scale().name] = entry
    write_json(target, known, indent=2, sort_keys=True)


def store(path: Path) -> dict:
    """Run, tidy, check and write one notebook; the old file stays when anything fails."""
    notebook, cost = run(path)
    tidy(notebook)
    refuse_stderr(notebook, path.name)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, path)
    if path.parent.name == "chapters":
        record(path, cost)
    return cost


def main() -> int:
    parser = argparse.ArgumentParser(description="Run notebooks and store their outputs.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    os.environ["BOOK_QUIET"] = "1"
    for path in parser.parse_args().notebooks:
        try:
            cost = store(path.resolve())
        except (StoreError, FileNotFoundError) as error:
            print(f"Not stored: {error}", file=sys.stderr)
            return 1
        print(f"{path}: {cost['seconds']} s, {cost['peak_rss_bytes'] / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
