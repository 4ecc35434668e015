"""The explorable of model shapes computes what `labs.model.counting` computes, in a browser."""

import itertools
from dataclasses import asdict

import pytest

from labs.model.counting import (
    family_config,
    kv_cache_bytes,
    page_data,
    parameters,
    training_flops_per_token,
)
from tests.browser import outputs

DATA = page_data()
PLACES = {
    "family": ["GPT-2", "Llama"],
    "layers": range(1, 129),
    "width": DATA["widths"],
    "group": [1, 2, 4, 8],
    "vocabulary": DATA["vocabularies"],
    "context": [2**i for i in range(8, 18)],
    "tokens": [0.01e12, 0.1e12, 0.3e12, 1.4e12, 2e12, 5e12, 15e12, 30e12],
}
SETTINGS = [
    dict(zip(PLACES, values, strict=True))
    for values in itertools.product(
        PLACES["family"], (1, 12, 32, 80), (768, 4096, 8192), (1, 8), (50257, 128256),
        (1024, 8192), (1.4e12, 15e12),
    )
]  # fmt: skip


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("model_shape", DATA)


def expected(tokens, **shape):
    """The same numbers from Python."""
    config = family_config(**shape)
    parts, flops = parameters(config), training_flops_per_token(config, config.context_length)
    return {
        **asdict(parts),
        "parameters": parts.total,
        "flops": flops,
        "training": flops * tokens,
        "days": flops * tokens / (1024 * 400e12 * 86400),
        "cache": kv_cache_bytes(config, 1),
        "full": kv_cache_bytes(config, config.context_length),
    }


def place(name, value):
    """The position of a control: a slider counts its steps, a plain one takes the value."""
    return value if name == "layers" else list(PLACES[name]).index(value)


def test_the_page_computes_what_python_computes(figure):
    places = [{k: place(k, v) for k, v in setting.items()} for setting in SETTINGS]
    for setting, seen in zip(SETTINGS, outputs(figure, places), strict=True):
        for name, value in expected(**setting).items():
            assert float(seen[name]) == pytest.approx(value, rel=1e-12), (setting, name)


def test_it_starts_at_llama_and_reaches_gpt2(figure):
    figure.wait_for_selector("figure[data-ready=true]")
    total = "[data-output=parameters]"
    assert figure.get_attribute(total, "data-value") == "8030261248"
    gpt2 = {"family": "GPT-2", "layers": 12, "width": 768, "group": 1}
    gpt2 |= {"vocabulary": 50257, "context": 1024}
    outputs(figure, [{k: place(k, v) for k, v in gpt2.items()}])
    assert figure.get_attribute(total, "data-value") == "124439808"
