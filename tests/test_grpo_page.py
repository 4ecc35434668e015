"""The explorable of a GRPO group shows the numbers of `labs.train.grpo`."""

import itertools

import pytest
import torch

from labs.train.grpo import group_advantages, grpo_loss
from tests.browser import outputs

START = {"variant": "grpo", "group": 8, "right": 2, "long_right": 50, "long_wrong": 200}
DATA = {"start": START}
LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
SETTINGS = [
    {"variant": v, "group": g, "right": r, "longRight": a, "longWrong": b}
    for v, g, r, a, b in itertools.product(
        ("grpo", "dr"), (2, 5, 16), (0, 1, 4, 16), (1, 50), (5, 200)
    )
]


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("grpo_group", DATA)


def expected(v):
    """Advantages from rewards; pushes from the gradient of the loss in log π, by autograd."""
    g, right = v["group"], min(v["right"], v["group"])
    rewards = torch.tensor([1.0] * right + [0.0] * (g - right), dtype=torch.float64)
    lengths = torch.tensor([v["longRight"]] * right + [v["longWrong"]] * (g - right))
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).double()
    grpo = v["variant"] == "grpo"
    advantages = group_advantages(rewards[None], divide_by_std=grpo)[0]
    logs = torch.zeros_like(mask).requires_grad_()
    loss = grpo_loss(logs, logs.detach(), advantages, mask, per_answer_mean=grpo)
    push = -torch.autograd.grad(loss, logs)[0][:, 0] * g
    first = lambda x, there, i: x[i].item() if there else 0.0  # noqa: E731
    p = right / g
    return {
        "share": p,
        "advantageRight": first(advantages, right, 0),
        "advantageWrong": first(advantages, right < g, -1),
        "tokenRight": first(push, right, 0),
        "tokenWrong": first(push, right < g, -1),
        "signal": 1 - p**g - (1 - p) ** g,
    }


def test_the_page_computes_what_python_computes(figure):
    places = [
        {
            "variant": ("grpo", "dr").index(v["variant"]),
            "group": v["group"],
            "right": v["right"],
            "longRight": LENGTHS.index(v["longRight"]),
            "longWrong": LENGTHS.index(v["longWrong"]),
        }
        for v in SETTINGS
    ]
    for setting, seen in zip(SETTINGS, outputs(figure, places, float), strict=True):
        for name, value in expected(setting).items():
            assert seen[name] == pytest.approx(value, rel=1e-6, abs=1e-9), (setting, name)


def test_it_starts_where_the_text_says(figure):
    start = expected({**START, "longRight": 50, "longWrong": 200})
    assert start["advantageRight"] == pytest.approx(3**0.5, abs=1e-4)
    shown = figure.get_attribute("[data-output=advantageRight]", "data-value")
    assert float(shown) == pytest.approx(start["advantageRight"])


def test_it_moves_from_the_keyboard(figure):
    before = figure.inner_html(".explorable-stage svg")
    figure.focus("[data-control=right]")
    figure.keyboard.press("ArrowRight")
    assert figure.inner_html(".explorable-stage svg") != before
