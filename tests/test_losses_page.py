"""The explorable of the loss chapter computes what PyTorch and its autograd compute."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from labs.train.losses import dpo_loss
from tests.browser import outputs

DATA = {
    "tokens": ["␣a", "␣the", "␣my", "↵", ",", "en"],
    "logits": [4.125, 3.5, 1.25, 0.375, -0.5, -2.0],
    "target": 2,
}
START = {"target": 2, "shift": 0.0, "level": 0, "loss": "cross-entropy"} | {
    "epsilon": 0.1,
    "gamma": 2,
    "lambda": 1e-4,
    "beta": 0.1,
}
PLACES = {
    "target": list(range(6)),
    "shift": [-12 + 0.5 * i for i in range(49)],
    "level": list(range(-10, 11)),
    "loss": [
        "cross-entropy", "label smoothing", "with z-loss", "focal", "BCE", "Brier", "MSE", "DPO",
    ],
    "epsilon": [0, 0.05, 0.1, 0.2, 0.3],
    "gamma": [0, 0.5, 1, 2, 5],
    "lambda": [0, 0.0001, 0.001, 0.01],
    "beta": [0.05, 0.1, 0.5, 1],
}  # fmt: skip
SHAPES = [
    {"target": t, "shift": s, "level": a, "loss": name}
    for t, s, a, name in itertools.product((0, 2, 5), (-12, -1.5, 0, 9), (-7, 0), PLACES["loss"])
]
STRENGTHS = [
    {"loss": name, "target": t, "shift": s, parameter: value}
    for name, parameter in (
        ("label smoothing", "epsilon"), ("focal", "gamma"), ("with z-loss", "lambda"),
        ("DPO", "beta"),
    )
    for value, t, s in itertools.product(PLACES[parameter], (0, 3), (-6, 0, 6))
]  # fmt: skip


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("losses", DATA)


def expected(setting):
    """Loss and gradient from PyTorch, by definitions other than the script's formulas."""
    v = {**START, **setting}
    base = torch.tensor(DATA["logits"], dtype=torch.float64)
    y, hot = v["target"], F.one_hot(torch.tensor(v["target"]), 6).double()
    z = (base + v["level"] + v["shift"] * hot).requires_grad_()
    q, target = z.softmax(-1), torch.tensor(y)
    ce = F.cross_entropy(z, target)
    other = 1 if y == 0 else 0
    policy, reference = z.log_softmax(-1), base.log_softmax(-1)
    pair = [policy[y], policy[other], reference[y], reference[other]]
    loss = {
        "cross-entropy": ce,
        "label smoothing": F.cross_entropy(z, target, label_smoothing=v["epsilon"]),
        "with z-loss": ce + v["lambda"] * z.exp().sum().log() ** 2,
        "focal": (1 - q[y]) ** v["gamma"] * ce,
        "BCE": F.binary_cross_entropy_with_logits(z, hot, reduction="sum"),
        "Brier": F.mse_loss(q, hot, reduction="sum"),
        "MSE": F.mse_loss(z, hot, reduction="sum"),
        "DPO": dpo_loss(*pair, beta=v["beta"])[0],
    }[v["loss"]]
    (grad,) = torch.autograd.grad(loss, z)
    return {
        "probability": q[y].item(),
        "value": loss.item(),
        "slope": grad[y].item(),
        "size": grad.norm().item(),
    }


@pytest.mark.parametrize("settings", [SHAPES, STRENGTHS], ids=["logits", "strengths"])
def test_the_page_computes_what_pytorch_computes(figure, settings):
    places = [{k: PLACES[k].index(v) for k, v in setting.items()} for setting in settings]
    start = {name: PLACES[name].index(value) for name, value in START.items()}
    for setting, seen in zip(
        settings, outputs(figure, [start | place for place in places], float), strict=True
    ):
        for name, value in expected(setting).items():
            assert seen[name] == pytest.approx(value, rel=1e-8, abs=1e-12), (setting, name)


def test_the_settings_reach_what_the_text_speaks_of():
    wrong = {"target": 5, "shift": -12}
    assert abs(expected({**wrong, "loss": "Brier"})["slope"]) < 1e-5
    assert expected({**wrong, "loss": "cross-entropy"})["slope"] < -0.99
    sure = {"target": 0, "shift": 9, "loss": "label smoothing"}
    assert expected(sure)["slope"] > 0  # pushes the target down again


def test_every_control_changes_the_picture(figure):
    for name, steps in PLACES.items():
        loss = {"epsilon": "label smoothing", "gamma": "focal", "lambda": "with z-loss"}.get(name)
        outputs(figure, [{"loss": PLACES["loss"].index(loss or "DPO")}], float)
        drawn = figure.inner_html(".explorable-stage svg")
        other = next(i for i, value in enumerate(steps) if value not in (START[name], "DPO"))
        outputs(figure, [{name: other}], float)
        assert figure.inner_html(".explorable-stage svg") != drawn, name


def test_it_moves_from_the_keyboard(figure):
    before = float(figure.get_attribute("[data-output=probability]", "data-value"))
    figure.focus("[data-control=shift]")
    figure.keyboard.press("ArrowRight")
    assert float(figure.get_attribute("[data-output=probability]", "data-value")) > before
