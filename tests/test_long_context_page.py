"""The explorable of KV memory and cost computes what `labs.model.serving` computes."""

import itertools

import pytest

from labs.model.serving import KINDS, MODELS, PATTERNS, cost, page_data
from tests.browser import outputs

DATA = page_data()
PLACES = {
    "model": list(MODELS),
    "kind": list(KINDS),
    "tokens": [2**i for i in range(10, 21)],
    "pattern": list(PATTERNS),
    "window": [2**i for i in range(9, 16)],
    "bits": [16, 8, 4],
    "batch": [2**i for i in range(9)],
    "gpu": [24, 80, 141, 640],
}
SETTINGS = [
    dict(zip(("model", "kind", "tokens", "pattern", "window"), values, strict=True))
    for values in itertools.product(
        MODELS, KINDS, (1024, 8192, 131072, 1048576), PATTERNS, (1024, 8192)
    )
] + [
    {"model": model, "bits": bits, "batch": batch, "gpu": gpu}
    for model, bits, batch, gpu in itertools.product(MODELS, (16, 8, 4), (1, 32), (24, 80, 640))
]


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("long_context", DATA)


def expected(setting):
    """The same numbers from Python; settings of the explorable's start where none is given."""
    v = {**DATA["start"], **setting}

    def at(tokens):
        return cost(
            MODELS[v["model"]],
            v["kind"],
            tokens,
            window=v["window"],
            pattern=v["pattern"],
            bytes_per_number=v["bits"] / 8,
        )

    now = at(v["tokens"])
    return {
        "token": at(v["tokens"] + 1).kept - now.kept,
        "kept": now.kept,
        "all": now.held + v["batch"] * now.kept,
        "most": max(0, (v["gpu"] * 1e9 - now.held) // now.kept),
        "read": now.read,
        "prefill": now.linear + now.attention,
        "share": now.share,
    }


def test_the_page_computes_what_python_computes(figure):
    places = [{k: PLACES[k].index(v) for k, v in setting.items()} for setting in SETTINGS]
    seen, state = outputs(figure, places), {}
    for setting, numbers in zip(SETTINGS, seen, strict=True):
        state |= setting
        for name, value in expected(state).items():
            assert float(numbers[name]) == pytest.approx(value, rel=1e-12), (state, name)


def test_the_settings_reach_both_answers():
    most = [expected(setting)["most"] for setting in SETTINGS]
    assert min(most) == 0 and max(most) > 10


def test_every_control_changes_the_picture(figure):
    outputs(figure, [{"pattern": 1}])  # with windows everywhere, every control matters
    drawn = figure.inner_html(".explorable-stage svg")
    for name, steps in PLACES.items():
        other = next(i for i, value in enumerate(steps) if value != DATA["start"][name])
        other = 2 if name == "pattern" else other
        outputs(figure, [{name: other}])
        assert figure.inner_html(".explorable-stage svg") != drawn, name
        drawn = figure.inner_html(".explorable-stage svg")


def test_bytes_are_shown_in_binary_units(figure):
    """128 KiB a token and 16 GiB at 131,072, as chapter 1 counts them; GPUs are sold in GB."""
    assert figure.inner_text("[data-output=token]").strip() == "128 KiB"
    assert figure.inner_text("[data-output=kept]").strip() == "16 GiB"
    assert "80 GB, or 74.5 GiB" in figure.inner_text("[data-control=gpu]")


def test_it_moves_from_the_keyboard(figure):
    before = figure.get_attribute("[data-output=kept]", "data-value")
    figure.focus("[data-control=tokens]")
    figure.keyboard.press("ArrowRight")
    after = figure.get_attribute("[data-output=kept]", "data-value")
    assert float(after) == 2 * float(before)
