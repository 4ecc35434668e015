"""The explorable `nsp_pairs` judges pairs as Python does, in a browser."""

import itertools
import random

import pytest

from tests.browser import outputs

KINDS = [["other", "from another work"], ["swapped", "the true pair, swapped"]]
RNG = random.Random(0)
COSINES = {key: [RNG.randrange(0, 700) for _ in range(60)] for key in ("up", "down", "swapped")}
POSITIVES = {"other": COSINES["up"], "swapped": COSINES["swapped"]}
NEGATIVES = {"other": COSINES["down"], "swapped": COSINES["swapped"]}
PAIRS = {
    kind: [
        {"first": f"{kind} a{i}", "second": f"b{i}", "next": i % 3 == 0, "cosine": 97 * i % 400}
        for i in range(4)
    ]
    for kind in ("other", "swapped")
}
DATA = {"kinds": KINDS, "positives": POSITIVES, "negatives": NEGATIVES, "pairs": PAIRS}
DATA |= {"threshold": 100}


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("nsp_pairs", DATA)


def judge(figure, kind, pair, threshold):
    """The outputs for one pair of one kind at a threshold."""
    return outputs(figure, [{"kind": kind, "pair": pair, "threshold": threshold}])[0]


def test_its_numbers_are_those_of_python(figure):
    for place, pair, threshold in itertools.product((0, 1), (1, 2, 4), (0, 100, 250, 500)):
        seen = judge(figure, place, pair, threshold)
        kind = KINDS[place][0]
        up = sum(c >= threshold for c in POSITIVES[kind]) / 60
        down = sum(c >= threshold for c in NEGATIVES[kind]) / 60
        shown = PAIRS[kind][pair - 1]
        assert float(seen["kept"]) == pytest.approx(up)
        assert float(seen["fooled"]) == pytest.approx(down)
        assert float(seen["accuracy"]) == pytest.approx((up + 1 - down) / 2)
        assert int(seen["cosine"]) == shown["cosine"]
        assert seen["bag"] == ("next" if shown["cosine"] >= threshold else "not next")
        if kind == "swapped":
            assert float(seen["accuracy"]) == pytest.approx(0.5)


def test_the_reader_judges_and_is_told(figure):
    assert judge(figure, 0, 2, 100)["truth"] == ""
    figure.focus("[data-judge=next]")
    figure.keyboard.press("Enter")
    seen = judge(figure, 0, 2, 100)
    assert seen["truth"] == "not next" and seen["score"] == "0 of 1"
    figure.click("[data-judge=other]")  # too late: the first verdict counts
    assert judge(figure, 0, 2, 100)["score"] == "0 of 1"
    judge(figure, 0, 1, 100)
    figure.click("[data-judge=next]")
    assert judge(figure, 0, 1, 100)["score"] == "1 of 2"
    assert judge(figure, 1, 1, 100)["score"] == "0 of 0"
    figure.click(".explorable-reset")
    assert judge(figure, 0, 1, 100)["score"] == "0 of 0"
