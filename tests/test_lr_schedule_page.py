"""The explorable of schedules: DeepSpeed makes the same rates of the configuration it shows."""

import itertools
import json
import os

import pytest
import torch

from labs.train.optim import warmup_stable_decay
from labs.train.quadratic import CURVATURES, NOISE, expected_losses
from tests.browser import outputs

START = {
    "schedule": "WarmupDecayLR",
    "peak": 1.5,
    "warmup": 20,
    "type": "linear",
    "total": 200,
    "floor": 0.1,
    "steps": 200,
    "look": 20,
}
DATA = {"curvatures": CURVATURES, "noise": NOISE, "start": START}
PLACES = {
    "schedule": ["WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest", "wsd"],
    "peak": [0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 1.9, 2.5],
    "warmup": [2, 5, 10, 20, 50, 100, 200],
    "type": ["log", "linear"],
    "total": [50, 100, 200, 400, 800],
    "floor": [0.01, 0.05, 0.1, 0.3, 0.5],
    "steps": [50, 100, 200, 400, 800],
    "look": [1, 2, 3, 5, 10, 20, 50, 100, 200, 400, 800],
}
SETTINGS = [
    {
        "schedule": s,
        "peak": p,
        "warmup": w,
        "type": t,
        "total": n,
        "floor": f,
        "steps": k,
        "look": i,
    }
    for s, (p, w, t), (n, f), (k, i) in itertools.product(
        PLACES["schedule"],
        [(0.5, 20, "log"), (1.9, 2, "linear"), (1.5, 100, "linear"), (0.02, 50, "log")],
        [(100, 0.1), (400, 0.01), (50, 0.5)],
        [(200, 2), (100, 50), (800, 400)],
    )
]


@pytest.fixture(scope="module")
def schedulers():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from deepspeed.runtime import lr_schedules

    return lr_schedules


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("lr_schedule", DATA)


def rates_of(v, config, schedulers, length):
    """The rates of the first steps, from DeepSpeed's own class and the configuration shown."""
    if v["schedule"] == "wsd":
        shape = {"steps": v["total"], "peak": v["peak"], "warmup": v["warmup"]}
        return [warmup_stable_decay(s, **shape, min_ratio=v["floor"]) for s in range(length)]
    section = json.loads("{" + config + "}")["scheduler"]
    assert section["type"] == v["schedule"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=v["peak"])
    scheduler = getattr(schedulers, section["type"])(optimizer, **section["params"])
    rates = []
    for _ in range(length):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_page_computes_what_deepspeed_and_python_compute(figure, schedulers):
    places = [{name: PLACES[name].index(x) for name, x in setting.items()} for setting in SETTINGS]
    for v, place in zip(SETTINGS, places, strict=True):
        (seen,) = outputs(figure, [place])
        config = figure.text_content("[data-config]")
        rates = rates_of(v, config, schedulers, max(v["steps"], v["look"]))
        used = rates[: v["steps"]]
        expected = {
            "look": rates[v["look"] - 1],
            "highest": max(used),
            "last": used[-1],
            "mean": sum(used) / v["steps"] / v["peak"],
            "loss": expected_losses(used)[-1],
            "constant": expected_losses([v["peak"]] * v["steps"])[-1],
        }
        for name, value in expected.items():
            assert float(seen[name]) == pytest.approx(value, rel=1e-9, abs=1e-12), (v, name)
        assert used[int(seen["at"]) - 1] == pytest.approx(max(used), rel=1e-9), v


def test_every_control_changes_the_picture(figure):
    figure.wait_for_selector("figure[data-ready=true]")
    outputs(figure, [{"schedule": 2, "type": 1}])  # WarmupCosineLR has all the controls
    drawn = figure.inner_html(".explorable-stage")
    for name, steps in PLACES.items():
        other = {"schedule": 1, "type": 0, "steps": 1}.get(name, steps.index(START[name]) - 1)
        outputs(figure, [{name: other}])
        assert figure.inner_html(".explorable-stage") != drawn, name
        outputs(figure, [{"schedule": 2}])
        drawn = figure.inner_html(".explorable-stage")
