"""The explorable of the ZeRO chapter computes what `labs.ranks.memory` computes, in a browser."""

import itertools

import pytest

from labs.ranks.memory import (
    ACTIVATIONS,
    MOMENTS,
    PRECISIONS,
    activation_bytes,
    gpt_shape,
    page_data,
    state_bytes,
)
from tests.browser import outputs

DATA = page_data()
STATES = [
    {"parameters": size, "ranks": ranks, "stage": stage, "precision": precision, "optimizer": name}
    for size, ranks, stage, precision, name in itertools.product(
        (0.35e9, 7.5e9, 1e12), (1, 4, 64, 1024), range(4), PRECISIONS, MOMENTS
    )
]
LOADS = [
    {"parameters": size, "keep": keep, "sequence": sequence, "batch": batch, "gpu": gpu}
    for size, keep, sequence, batch, gpu in itertools.product(
        (1.5e9, 70e9), ACTIVATIONS, (256, 4096, 131072), (1, 16), (24, 141)
    )
]
PLACES = {
    "parameters": DATA["parameters"],
    "ranks": [2**i for i in range(11)],
    "stage": [0, 1, 2, 3],
    "precision": list(PRECISIONS),
    "optimizer": list(MOMENTS),
    "keep": list(ACTIVATIONS),
    "sequence": [2**i for i in range(8, 18)],
    "batch": [2**i for i in range(7)],
    "gpu": [24, 40, 80, 141],
}


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("zero_memory", DATA)


def expected(setting):
    """The same numbers from Python; settings of the explorable's start where none is given."""
    v = {**DATA["start"], **setting}
    states = state_bytes(v["stage"], v["ranks"], v["precision"], v["optimizer"])
    states = states.scaled(v["parameters"])
    layers, hidden, heads = gpt_shape(v["parameters"])
    kept = activation_bytes(layers, hidden, heads, v["sequence"], v["batch"], v["keep"])
    total = states.total + kept
    return {
        "params": states.params,
        "grads": states.grads,
        "master": states.master,
        "moments": states.moments,
        "activations": kept,
        "total": total,
    }, total <= v["gpu"] * 1e9


@pytest.mark.parametrize("settings", [STATES, LOADS], ids=["states", "activations"])
def test_the_page_computes_what_python_computes(figure, settings):
    places = [{k: PLACES[k].index(v) for k, v in setting.items()} for setting in settings]
    for setting, seen in zip(settings, outputs(figure, places), strict=True):
        numbers, fits = expected(setting)
        for name, value in numbers.items():
            assert float(seen[name]) == pytest.approx(value, rel=1e-12), (setting, name)
        assert seen["fits"] == str(fits).lower(), setting


def test_the_grid_reaches_both_answers():
    assert {expected(setting)[1] for setting in [*STATES, *LOADS]} == {True, False}


def test_every_control_changes_the_picture(figure):
    figure.wait_for_selector("figure[data-ready=true]")
    outputs(figure, [{"keep": PLACES["keep"].index("no recomputation")}])
    drawn = figure.inner_html(".explorable-stage svg")
    for name, steps in PLACES.items():
        start = DATA["start"][name]
        other = next(i for i, value in enumerate(steps) if value != start)
        if name == "keep":
            other = 1
        outputs(figure, [{name: other}])
        assert figure.inner_html(".explorable-stage svg") != drawn, name
        drawn = figure.inner_html(".explorable-stage svg")


def test_it_moves_from_the_keyboard(figure):
    before = figure.get_attribute("[data-output=total]", "data-value")
    figure.focus("[data-control=ranks]")
    figure.keyboard.press("ArrowLeft")
    assert float(figure.get_attribute("[data-output=total]", "data-value")) > float(before)
