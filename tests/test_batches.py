"""Batch arithmetic: `resolve_batch` is DeepSpeed's, and the explorable's is `resolve_batch`."""

import itertools
from types import SimpleNamespace

import pytest

from labs.book.explorables import explorable
from labs.ranks.batches import page_data, resolve_batch

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


READ = """(settings) => {
  const figure = document.querySelector('figure.explorable[data-ready=true]');
  return settings.map((setting) => {
    for (const [name, place] of Object.entries(setting)) {
      const input = figure.querySelector(`[data-control="${name}"]`);
      input.value = place;
      input.dispatchEvent(new Event("input"));
    }
    return Object.fromEntries([...figure.querySelectorAll("[data-output]")].map(
      (output) => [output.dataset.output, output.dataset.value]));
  });
}"""


@pytest.fixture
def figure(browser):
    """A page with nothing but the explorable."""
    html = explorable("batch_plan", DATA, title="Batch", static_html="<p>s</p>", text="batch")
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_content(html._repr_html_())
    yield page
    page.close()
    assert not problems


def test_the_page_computes_what_python_computes(figure):
    cases = [{**case, "tokens": 4096} for case in CASES]
    places = [{name: DATA[name].index(value) for name, value in c.items()} for c in cases]
    for case, seen in zip(cases, figure.evaluate(READ, places), strict=True):
        expected = outcome({name: case[name] for name in NAMES})
        assert seen["accepted"] == str(expected is not None).lower(), case
        if expected:
            shown = tuple(int(seen[name]) for name in ("train", "micro", "accumulate"))
            assert shown == expected, case
            assert int(seen["tokens"]) == expected[0] * 4096
        else:
            assert not seen["train"] or seen["train"] == "null"
