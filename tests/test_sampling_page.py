"""The explorable of sampling computes what `labs.train.decoding` computes, in a browser."""

import itertools
import math

import pytest
import torch

from labs.train.decoding import next_token_probabilities
from tests.browser import outputs

V = 300
TOP_K = [1, 2, 3, 5, 8, 10, 20, 40, 50, 100, 200, V]


def falling_logits(seed, spread):
    noise = torch.randn(V, generator=torch.Generator().manual_seed(seed)) * spread
    return [round(z, 3) for z in noise.sort(descending=True).values.tolist()]


DATA = {
    "vocabulary": V,
    "prompts": [
        {"text": name, "tokens": [f"t{i}" for i in range(12)], "logits": falling_logits(seed, s)}
        for name, seed, s in (("sure", 0, 4.0), ("unsure", 1, 1.0), ("even", 2, 0.01))
    ],
}
SETTINGS = [
    {"prompt": prompt, "temperature": t, "top_k": k, "top_p": p, "min_p": m}
    for prompt, t, k, p, m in itertools.product(
        (0, 1, 2), (0, 0.5, 1, 2.5), (1, 10, V), (0.1, 0.9, 1), (0, 0.03, 0.5)
    )
]


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("sampling", DATA)


def expected(prompt, temperature, top_k, top_p, min_p):
    """The same numbers from Python."""
    logits = torch.tensor(DATA["prompts"][prompt]["logits"], dtype=torch.double)
    off = {"top_k": None if top_k == V else top_k, "top_p": None if top_p == 1 else top_p}
    p = next_token_probabilities(logits, temperature, **off, min_p=min_p)
    nats = torch.special.entr(p).sum().item()
    kept = next_token_probabilities(logits, temperature)[p > 0].sum().item()
    return {
        "support": (p > 0).sum().item(),
        "entropy": nats,
        "effective": math.exp(nats),
        "best": p[0].item(),
        "mass": kept,
    }


def test_the_page_computes_what_python_computes(figure):
    moved = [{**s, "top_k": TOP_K.index(s["top_k"])} for s in SETTINGS]
    supports = set()
    for setting, seen in zip(SETTINGS, outputs(figure, moved, float), strict=True):
        numbers = expected(**setting)
        assert seen.keys() == numbers.keys()
        for name, value in numbers.items():
            assert seen[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (setting, name)
        supports.add(numbers["support"])
    assert {1, V} < supports and len(supports) > 10


def test_each_control_changes_numbers_or_picture(figure):
    before = figure.inner_html(".explorable-stage")
    for name, place in {"prompt": 1, "temperature": 0.5, "top_k": 8, "top_p": 0.5}.items():
        outputs(figure, [{name: place}], float)
        after = figure.inner_html(".explorable-stage")
        assert after != before, name
        before = after
    start = outputs(figure, [{}], float)
    assert outputs(figure, [{"min_p": 0.5}], float) != start
    figure.click(".explorable-reset")
    assert outputs(figure, [{}], float)[0]["support"] == V


def test_it_moves_from_the_keyboard(figure):
    figure.focus("[data-control=temperature]")
    before = outputs(figure, [{}], float)[0]["entropy"]
    figure.keyboard.press("ArrowRight")
    assert outputs(figure, [{}], float)[0]["entropy"] > before
