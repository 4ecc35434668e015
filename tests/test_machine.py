"""Scale, seeds, meters and tables."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from labs.book import machine
from labs.book.tables import grid, table


def test_scale_can_be_chosen(monkeypatch):
    monkeypatch.setenv("BOOK_SCALE", "gpu")
    assert machine.scale().pick(cpu=1, gpu=2) == 2
    monkeypatch.setenv("BOOK_SCALE", "cpu")
    assert machine.scale().pick(cpu=1, gpu=2) == 1
    assert machine.device().type == "cpu"
    monkeypatch.setenv("BOOK_SCALE", "tpu")
    with pytest.raises(ValueError, match="BOOK_SCALE is 'tpu'"):
        machine.scale()


def test_seeds_cover_the_three_generators():
    def draw():
        machine.seed_everything(7)
        return torch.rand(2).tolist(), np.random.rand(2).tolist()

    assert draw() == draw()


def test_bit_exact_ends_where_it_began():
    def settings():
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
        )

    before = settings()
    with pytest.raises(ZeroDivisionError), machine.bit_exact(threads=1):
        assert settings() == (1, True, False, False)
        1 / 0  # noqa: B018
    assert settings() == before


METERED = """
import time, torch
from labs.book.machine import meter
with meter() as cost:
    block = torch.ones(16_000_000)  # 64 MB
    time.sleep(0.05)
print(cost.seconds, cost.peak_bytes)
"""


def test_meter_sees_time_and_memory():
    """In a process of its own: a heap that other tests have filled and freed would not grow."""
    environment = {**os.environ, "BOOK_SCALE": "cpu"}
    command = [sys.executable, "-c", METERED]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, peak_bytes = map(float, run.stdout.split())
    assert 0.05 <= seconds < 5
    assert 40e6 < peak_bytes < 200e6


def test_progress_is_silent_while_outputs_are_stored(monkeypatch, capsys):
    monkeypatch.setenv("BOOK_QUIET", "1")
    assert list(machine.progress(range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_versions_name_no_path():
    assert "torch 2.13.0" in machine.versions() and "/" not in machine.versions()


def test_table_of_predictions():
    shown = table(("loss", 2.0, 2.5), ("nothing", 0.0, 0.0), unit="nats/byte")
    assert repr(shown).splitlines() == [
        "in nats/byte  predicted  measured   ratio",
        "loss             2.0000    2.5000  1.2500",
        "nothing          0.0000    0.0000       –",
    ]
    assert shown._repr_html_().count("<td") == 8


def test_no_digits_are_whole_numbers_and_nothing_becomes_zero():
    shown = table(("bytes", 8, 1_572_864), ("small", 0.25, 0.0), digits=0)
    assert [line.split() for line in repr(shown).splitlines()[1:]] == [
        ["bytes", "8", "1,572,864", "196,608.0000"],
        ["small", "2e-01", "0", "0.0000"],
    ]


def test_grid_escapes_and_formats():
    shown = grid(["what", "n", "x"], [["a<b", 1234567, 1e-9]])
    assert "a&lt;b" in shown._repr_html_() and "a<b" not in shown._repr_html_()
    assert repr(shown).splitlines()[1].split() == ["a<b", "1,234,567", "1.000e-09"]
    with pytest.raises(ValueError, match="Every row needs 2 cells"):
        grid(["a", "b"], [[1]])
