"""Batch arithmetic: `resolve_batch` is DeepSpeed's, and the explorable's is `resolve_batch`."""

import itertools
from types import SimpleNamespace

import pytest

from labs.ranks.batches import page_data, resolve_batch
from tests.browser import outputs

DATA = page_data()
NAMES = ("train", "micro", "accumulate", "ranks")
CASES = [
    dict(zip(NAMES, case, strict=True))
    for case in itertools.product(
        (None, 8, 12, 512), (None, 1, 3, 4), (None, 1, 2, 16), (1, 2, 6, 8, 1024)
    )
]


def outcome(case):
    try:
        return tuple(resolve_batch(**case))
    except ValueError:
        return None


def test_it_is_what_deepspeed_does():
    from deepspeed.runtime.config import DeepSpeedConfig

    for case in CASES:
        config = SimpleNamespace(
            train_batch_size=case["train"],
            train_micro_batch_size_per_gpu=case["micro"],
            gradient_accumulation_steps=case["accumulate"],
            world_size=case["ranks"],
        )
        try:
            DeepSpeedConfig._set_batch_related_parameters(config)
            DeepSpeedConfig._batch_assertion(config)
            expected = (
                config.train_batch_size,
                config.train_micro_batch_size_per_gpu,
                config.gradient_accumulation_steps,
            )
        except (AssertionError, ValueError):
            expected = None
        assert outcome(case) == expected, case


def test_the_grid_reaches_both_answers():
    assert {outcome(case) is None for case in CASES} == {True, False}


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("batch_plan", DATA)


def test_the_page_computes_what_python_computes(figure):
    cases = [{**case, "tokens": 4096} for case in CASES]
    places = [{name: DATA[name].index(value) for name, value in c.items()} for c in cases]
    for case, seen in zip(cases, outputs(figure, places), strict=True):
        expected = outcome({name: case[name] for name in NAMES})
        assert seen["accepted"] == str(expected is not None).lower(), case
        if expected:
            shown = tuple(int(seen[name]) for name in ("train", "micro", "accumulate"))
            assert shown == expected, case
            assert int(seen["tokens"]) == expected[0] * 4096
        else:
            assert not seen["train"] or seen["train"] == "null"
