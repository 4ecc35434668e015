"""The threshold explorable computes what scikit-learn computes, in a browser."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tests.browser import outputs

rng = np.random.default_rng(0)


def scores(center, n):
    return np.sort(np.round(1000 / (1 + np.exp(-rng.normal(center, 1.5, n)))).astype(int))


DATA = {
    "systems": {
        "good": {"positive": scores(1.5, 120), "negative": scores(-1.5, 150)},
        "poor": {"positive": scores(0.2, 80), "negative": scores(-0.2, 90)},
    },
    "prevalences": [0.01, 0.05, 0.3, 0.5, 0.9],
    "start": {"system": "good", "threshold": 50, "prevalence": 0.5},
}
CONTROLS = ("system", "threshold", "prevalence")
SETTINGS = list(itertools.product(range(2), (0, 1, 25, 50, 73, 100), range(5)))


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("threshold", DATA)


def expected(system, threshold, prevalence):
    """The same numbers from scikit-learn; weights make the prevalence."""
    part = list(DATA["systems"].values())[system]
    share = DATA["prevalences"][prevalence]
    score = np.r_[part["positive"], part["negative"]]
    y = np.r_[np.ones(len(part["positive"]), bool), np.zeros(len(part["negative"]), bool)]
    weight = np.where(y, share / y.sum(), (1 - share) / (~y).sum())
    flag = score >= 10 * threshold
    told = {"sample_weight": weight, "zero_division": 0}
    return {
        "precision": precision_score(y, flag, **told) if flag.any() else math.nan,
        "recall": recall_score(y, flag, **told),
        "f1": f1_score(y, flag, **told),
        "accuracy": accuracy_score(y, flag, sample_weight=weight),
        "fpr": float(flag[~y].mean()),
        "auc": roc_auc_score(y, score),
        "ap": average_precision_score(y, score, sample_weight=weight),
        "alarms": weight[flag & ~y].sum() / hits if (hits := weight[flag & y].sum()) else math.nan,
    }


def test_the_page_computes_what_scikit_learn_computes(figure):
    seen = outputs(figure, [dict(zip(CONTROLS, s, strict=True)) for s in SETTINGS])
    for setting, numbers in zip(SETTINGS, seen, strict=True):
        wanted = expected(*setting)
        assert numbers.keys() == wanted.keys()
        for name, value in wanted.items():
            got = float(numbers[name])
            assert got == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), (setting, name)


def test_only_what_divides_by_both_classes_depends_on_prevalence(figure):
    rare, even = outputs(
        figure, [{"system": 0, "threshold": 50, "prevalence": place} for place in (0, 3)]
    )
    assert all(rare[name] == even[name] for name in ("recall", "fpr", "auc"))
    assert all(rare[name] != even[name] for name in ("precision", "f1", "accuracy", "ap"))


def test_the_pictures_follow_the_threshold(figure):
    figure.wait_for_selector("figure[data-ready=true]")
    dots = "[data-picture=roc] circle, [data-picture=pr] circle"
    before = [dot.get_attribute("cx") for dot in figure.query_selector_all(dots)]
    figure.focus("[data-control=threshold]")
    for _ in range(20):
        figure.keyboard.press("ArrowRight")
    after = [dot.get_attribute("cx") for dot in figure.query_selector_all(dots)]
    assert len(before) == len(after) == 2 and before != after
