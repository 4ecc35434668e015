"""The explorable of the batch size computes what `labs.train.noise` computes, in a browser."""

import itertools

import pytest

from labs.train.noise import page_data, steps_and_samples
from tests.browser import outputs

DATA = page_data()
SETTINGS = [
    {"batch": batch, "scale": scale, "devices": n}
    for batch, scale, n in itertools.product(DATA["batches"], (16, 512, 16384), (1, 64, 1024))
]
LISTS = {"batch": DATA["batches"], "scale": DATA["scales"], "devices": DATA["devices"]}


def test_the_page_computes_what_python_computes(open_explorable):
    page = open_explorable("batch_tradeoff", DATA)
    places = [{k: LISTS[k].index(v) for k, v in setting.items()} for setting in SETTINGS]
    for setting, seen in zip(SETTINGS, outputs(page, places, float), strict=True):
        steps, samples = steps_and_samples(setting["batch"], setting["scale"])
        assert seen["steps"] == pytest.approx(steps, rel=1e-12)
        assert seen["samples"] == pytest.approx(samples, rel=1e-12)
        time = samples / min(setting["devices"], setting["batch"])
        assert seen["time"] == pytest.approx(time, rel=1e-12)


def test_every_control_changes_what_is_shown(open_explorable):
    page = open_explorable("batch_tradeoff", DATA)
    before = outputs(page, [{}])[0]
    for name in LISTS:
        after = outputs(page, [{name: 0}])[0]
        assert after != before, name
        before = after
