"""The explorable of word senses computes in a browser what Python computes from the cosines."""

import numpy as np
import pytest

from tests.browser import outputs

SENSES = ["ship", "tree", "dog"]
OWNER = [0, 0, 0, 1, 1, 1, 2, 2, 2]
LAYERS = 4


def cosines():
    """Symmetric, 1 on the diagonal; layer 0 is the static one, where all are equal."""
    generator = np.random.default_rng(4)
    x = generator.normal(size=(LAYERS, 9, 16)) + 1.2 * np.eye(3)[OWNER].repeat(6, 1)[:, :16]
    x[0] = x[0, 0]
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.rint(1000 * x @ x.transpose(0, 2, 1)).astype(int)


COSINES = cosines()
DATA = {
    "word": "bark",
    "senses": SENSES,
    "sentences": [[f"sentence {i} with a bark", sense] for i, sense in enumerate(OWNER)],
    "cosines": COSINES,
    "start": {"layer": 2, "sentence": 0},
}


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("senses", DATA)


def nearest(layer, i):
    row = COSINES[layer, i].astype(float)
    row[i] = -np.inf
    others = np.delete(COSINES[layer, i], i)
    return -1 if np.ptp(others) == 0 else int(row.argmax())


def test_the_page_computes_what_python_computes(figure):
    settings = [{"layer": layer, "sentence": i} for layer in range(LAYERS) for i in range(9)]
    owner = np.array(OWNER)
    for setting, seen in zip(settings, outputs(figure, settings, float), strict=True):
        layer, i = setting["layer"], setting["sentence"]
        row, rest = COSINES[layer, i] / 1000, np.arange(9) != i
        alike = owner == owner[i]
        assert seen["same"] == pytest.approx(row[alike & rest].mean()), setting
        assert seen["other"] == pytest.approx(row[~alike].mean()), setting
        assert seen["nearest"] == nearest(layer, i), setting
        neighbours = [nearest(layer, j) for j in range(9)]
        same = [n >= 0 and OWNER[n] == OWNER[j] for j, n in enumerate(neighbours)]
        assert seen["right"] == sum(same), setting
    assert nearest(0, 0) == -1 and nearest(3, 0) >= 0  # both answers occur


def test_it_moves_from_the_keyboard(figure):
    before = figure.get_attribute("[data-output=same]", "data-value")
    figure.focus("[data-control=layer]")
    figure.keyboard.press("ArrowRight")
    assert figure.get_attribute("[data-output=same]", "data-value") != before
