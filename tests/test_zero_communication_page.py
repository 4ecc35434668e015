"""The explorable of ZeRO's communication computes what `labs.ranks.network` computes."""

import itertools

import pytest

from labs.ranks.network import ALGORITHMS, Network, Setup, page_data, step
from tests.browser import outputs

DATA = page_data()
PLACES = {
    **{name: DATA[name] for name in DATA if isinstance(DATA[name], list)},
    "stage": [0, 1, 2, 3],
}
FIRST = ("parameters", "ranks", "stage", "accumulate", "algorithm", "tokens")
SECOND = ("bandwidth", "alpha", "flops", "bucket")
SETTINGS = [
    dict(zip(FIRST, values, strict=True))
    for values in itertools.product(
        (0.35e9, 70e9), (8, 64, 1024), range(4), (1, 8), ALGORITHMS, (512, 131072)
    )
] + [
    dict(zip(SECOND, values, strict=True))
    for values in itertools.product(
        DATA["bandwidth"][::3], DATA["alpha"][::4], DATA["flops"][::3], DATA["bucket"]
    )
]


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("zero_communication", DATA)


def expected(values):
    """The same numbers from Python."""
    v = dict(values)
    v["network"] = Network(v.pop("alpha"), v.pop("bandwidth"))
    cost = step(Setup(**v))
    names = ("sent", "communication", "latency", "compute", "exposed", "total", "efficiency")
    return {name: getattr(cost, name) for name in names}


@pytest.mark.parametrize("overlap", [True, False])
def test_the_page_computes_what_python_computes(figure, overlap):
    if not overlap:
        figure.uncheck("[data-control=overlap]")
    places = [{k: PLACES[k].index(v) for k, v in setting.items()} for setting in SETTINGS]
    values = {**DATA["start"], "overlap": overlap}
    for setting, seen in zip(SETTINGS, outputs(figure, places, float), strict=True):
        values.update(setting)
        assert seen == pytest.approx(expected(values), rel=1e-12), values


def test_every_control_changes_the_picture(figure):
    drawn = figure.inner_html(".explorable-stage svg")
    changes = dict.fromkeys(PLACES, 0) | {"accumulate": 2, "algorithm": 1, "stage": 3}
    for name, place in changes.items():
        outputs(figure, [{name: place}])
        now = figure.inner_html(".explorable-stage svg")
        assert now != drawn, name
        drawn = now
    figure.uncheck("[data-control=overlap]")
    assert figure.inner_html(".explorable-stage svg") != drawn


def test_it_moves_from_the_keyboard(figure):
    before = figure.get_attribute("[data-output=sent]", "data-value")
    figure.focus("[data-control=ranks]")
    figure.keyboard.press("ArrowRight")
    assert float(figure.get_attribute("[data-output=sent]", "data-value")) > float(before)
