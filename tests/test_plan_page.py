"""The explorable of the training plan computes what `labs.ranks.plan` computes."""

import itertools

import pytest

from labs.ranks.network import Network
from labs.ranks.plan import (
    STAGES,
    Cluster,
    Strategy,
    Work,
    estimate,
    fastest,
    page_data,
    strategies,
)
from tests.browser import outputs

DATA = page_data()
PLACES = {name: DATA[name] for name in DATA if isinstance(DATA[name], list)}
SETTINGS = [
    dict(zip(("parameters", "gpus", "tokens", "accumulate"), values, strict=True))
    for values in itertools.product(DATA["parameters"][::2], (1, 4, 8, 1024), (512, 8192), (1, 8))
] + [
    dict(zip(("tensor", "keep", "memory", "bandwidth", "gpus"), values, strict=True))
    for values in itertools.product(
        DATA["tensor"], DATA["keep"], DATA["memory"][::2], DATA["bandwidth"][::2], (2, 64)
    )
]  # fmt: skip


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("training_plan", DATA)


def expected(v):
    """The same numbers from Python."""
    work = Work(v["parameters"], v["tokens"], v["accumulate"])
    start = Cluster(v["gpus"]).between
    network = Network(start.alpha, v["bandwidth"])
    cluster = Cluster(v["gpus"], memory=v["memory"], between=network)
    tensor = min(v["tensor"], v["gpus"])
    own = [Strategy(stage, tensor, v["keep"]) for stage in STAGES]
    found = [estimate(work, cluster, s) for s in own if s in strategies(cluster)]
    fitting = [(e.seconds, stage, e) for stage, e in enumerate(found) if e.fits]
    _, stage, chosen = min(fitting, key=lambda x: x[:2], default=(0, -1, None))
    best = fastest(work, cluster)
    return {
        "stage": stage,
        "memory": chosen.memory if chosen else 0,
        "efficiency": chosen.efficiency if chosen else 0,
        "throughput": chosen.throughput if chosen else 0,
        "batch": v["gpus"] * v["tokens"] * v["accumulate"],
        "strategy": str(best[0]) if best else "none fits",
        "best": best[1].throughput if best else 0,
    }


def test_the_page_computes_what_python_computes(figure):
    places = [{k: PLACES[k].index(v) for k, v in setting.items()} for setting in SETTINGS]
    values, answers = dict(DATA["start"]), set()
    for setting, seen in zip(SETTINGS, outputs(figure, places), strict=True):
        values.update(setting)
        wanted = expected(values)
        answers.add((wanted["stage"], wanted["strategy"]))
        assert seen.pop("strategy") == wanted.pop("strategy"), values
        numbers = {name: float(x) for name, x in seen.items()}
        assert numbers == pytest.approx(wanted, rel=1e-9), values
    assert {stage for stage, _ in answers} >= {-1, 0, 1, 3}
    assert len(answers) > 12


def test_every_control_changes_the_picture(figure):
    outputs(figure, [{"accumulate": 0}])
    drawn = figure.inner_html(".explorable-stage svg")
    changes = dict.fromkeys(PLACES, 0) | {"tensor": 2, "keep": 1, "accumulate": 3, "gpus": 5}
    for name, place in changes.items():
        outputs(figure, [{"parameters": 3, "memory": 2, "bandwidth": 3, "tokens": 3}])
        before = figure.inner_html(".explorable-stage svg")
        outputs(figure, [{name: place}])
        assert figure.inner_html(".explorable-stage svg") != before, name
    assert figure.inner_html(".explorable-stage svg") != drawn


def test_it_moves_from_the_keyboard(figure):
    before = float(figure.get_attribute("[data-output=memory]", "data-value"))
    figure.focus("[data-control=parameters]")
    figure.keyboard.press("ArrowRight")
    assert float(figure.get_attribute("[data-output=memory]", "data-value")) > before
