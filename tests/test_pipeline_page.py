"""The explorable of the pipeline schedules computes what `labs.ranks.schedules` computes."""

import itertools

import pytest

from labs.ranks.schedules import bubble, idle_share, makespan, page_data, peak_held, timeline
from tests.browser import outputs

DATA = page_data()
CHOICES = {
    "schedule": DATA["schedules"],
    "stages": DATA["stages"],
    "rounds": DATA["rounds"],
    "chunks": DATA["chunks"],
    "times": list(DATA["times"]),
}
SETTINGS = [
    dict(zip(CHOICES, values, strict=True))
    for values in itertools.product(
        DATA["schedules"], (1, 2, 4, 8), (1, 2, 6), (1, 2, 4), DATA["times"]
    )
]


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("pipeline", DATA)


def expected(v):
    """The same numbers from Python."""
    times = dict(zip("FBW", DATA["times"][v["times"]], strict=True))
    chunks = v["chunks"] if v["schedule"] == "interleaved" else 1
    shape = (v["schedule"], v["stages"], v["stages"] * v["rounds"], chunks, times)
    slots = timeline(*shape)
    return {
        "micros": shape[2],
        "idle": float(idle_share(slots)),
        "formula": float(bubble(*shape)),
        "span": float(makespan(slots) / times["F"]),
        "held": float(peak_held(slots[0])),
    }


def test_the_page_computes_what_python_computes(figure):
    places = [{k: CHOICES[k].index(v) for k, v in setting.items()} for setting in SETTINGS]
    for setting, seen in zip(SETTINGS, outputs(figure, places, float), strict=True):
        assert seen == pytest.approx(expected(setting), rel=1e-12, abs=1e-12), setting


def test_every_control_changes_the_picture(figure):
    outputs(figure, [{"schedule": DATA["schedules"].index("interleaved")}])
    drawn = figure.inner_html(".explorable-stage svg")
    for name, steps in CHOICES.items():
        now = "interleaved" if name == "schedule" else DATA["start"][name]
        other = next(i for i, value in enumerate(steps) if value != now)
        outputs(figure, [{name: other}])
        assert figure.inner_html(".explorable-stage svg") != drawn, name
        outputs(figure, [{name: steps.index(now)}])
        assert figure.inner_html(".explorable-stage svg") == drawn, name


def test_it_moves_from_the_keyboard(figure):
    before = float(figure.get_attribute("[data-output=idle]", "data-value"))
    figure.focus("[data-control=rounds]")
    figure.keyboard.press("ArrowRight")
    assert float(figure.get_attribute("[data-output=idle]", "data-value")) < before
