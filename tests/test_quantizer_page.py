"""The explorable of rounding weights computes what `labs.model.quantization` computes."""

import itertools
import math

import pytest
import torch

from labs.model.quantization import round_to_nearest, scales
from tests.browser import outputs

ROW = torch.randn(64, generator=torch.Generator().manual_seed(3), dtype=torch.double) * 0.05
GROUPS = [8, 16, 32, 64]
OUTLIERS = [1, 2, 5, 10, 20, 50, 100]
DATA = {"weights": ROW, "groups": GROUPS, "start": {"bits": 4, "group": 64}}
SETTINGS = list(itertools.product(range(2, 9), GROUPS, OUTLIERS))


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("quantizer", DATA)


def test_the_page_computes_what_python_computes(figure):
    places = [
        {"bits": b, "group": GROUPS.index(g), "outlier": OUTLIERS.index(o)} for b, g, o in SETTINGS
    ]
    for (bits, group, outlier), seen in zip(SETTINGS, outputs(figure, places, float), strict=True):
        row = ROW.clone()[None]
        row[0, 0] *= outlier
        q = round_to_nearest(row, bits, group)
        codes = (q / scales(row, bits, group)).round().int().view(-1, group).tolist()
        off = (q - row).square().sum().item()
        where = (bits, group, outlier)
        assert seen["stored"] == bits + 16 / group
        assert seen["error"] == pytest.approx(math.sqrt(off / 64), rel=1e-9), where
        ratio = 10 * math.log10(row.square().sum().item() / off)
        assert seen["sqnr"] == pytest.approx(ratio, rel=1e-9), where
        assert seen["codes"] == sum(len(set(part)) for part in codes), where
        assert seen["zeros"] == sum(part.count(0) for part in codes), where


def test_an_outlier_costs_its_group_only(figure):
    start = {"bits": 4, "group": GROUPS.index(64), "outlier": OUTLIERS.index(100)}
    whole, small = outputs(figure, [start, {"group": GROUPS.index(8)}], float)
    assert whole["zeros"] > 55 > 40 > small["zeros"]


def test_it_moves_from_the_keyboard(figure):
    before = outputs(figure, [{}], float)[0]["sqnr"]
    figure.focus("[data-control=bits]")
    figure.keyboard.press("ArrowRight")
    assert outputs(figure, [{}], float)[0]["sqnr"] > before
