"""The explorable of the attention chapter computes what PyTorch computes, in a browser."""

import itertools
import math
from pathlib import Path

import pytest
import torch

from labs.model.heads import raw_scores, row_entropy
from labs.train import pretrained
from tests.notebooks import explorable_data

CHAPTER = Path(__file__).resolve().parents[1] / "chapters" / "06_attention.ipynb"
TOKENS = ["She", " told", " him", ",", " and", " told", " him"]
T, LAYERS, HEADS, D_HEAD = len(TOKENS), 2, 3, 16
SCORES = torch.randn(LAYERS, HEADS, T, T, generator=torch.Generator().manual_seed(6)) * 6
DATA = {
    "tokens": TOKENS,
    "d_head": D_HEAD,
    "scores": (SCORES * 1000).round().int(),
    "start": {"layer": 1, "head": 2, "query": 4},
}
SETTINGS = [
    {"layer": layer, "head": head, "scaled": scaled, "causal": causal, "query": query}
    for layer, head, scaled, causal, query in itertools.product(
        range(LAYERS), range(HEADS), (True, False), (True, False), (0, 3, T - 1)
    )
]
# Moves every control to its value as a reader would, clicks the token, and reads all numbers.
READ = """(settings) => {
  const figure = document.querySelector('figure.explorable[data-ready=true]');
  const control = (name) => figure.querySelector(`[data-control="${name}"]`);
  return settings.map(({layer, head, scaled, causal, query}) => {
    for (const [name, value] of [["layer", layer + 1], ["head", head + 1]]) {
      control(name).value = value;
      control(name).dispatchEvent(new Event("input"));
    }
    for (const [name, value] of [["scaled", scaled], ["causal", causal]]) {
      control(name).checked = value;
      control(name).dispatchEvent(new Event("change"));
    }
    const tokens = [...figure.querySelectorAll(".attention-token")];
    tokens[query].click();
    const seen = Object.fromEntries([...figure.querySelectorAll("[data-output]")].map(
      (output) => [output.dataset.output, Number(output.dataset.value)]));
    return {...seen, weights: tokens.map((token) => Number(token.dataset.weight)),
            words: tokens.map((token) => token.innerText)};
  });
}"""


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("attention", DATA)


def expected(setting):
    """The row of weights from PyTorch, on the rounded scores that the page has."""
    scores = DATA["scores"][setting["layer"], setting["head"], setting["query"]].double() / 1000
    if setting["scaled"]:
        scores = scores / math.sqrt(D_HEAD)
    if setting["causal"]:
        scores[setting["query"] + 1 :] = -math.inf
    return torch.softmax(scores, dim=-1)


def value(page, name):
    return float(page.get_attribute(f"[data-output={name}]", "data-value"))


def weights(page):
    tokens = page.locator(".attention-token")
    return tokens.evaluate_all("tokens => tokens.map(token => Number(token.dataset.weight))")


def test_the_page_computes_what_pytorch_computes(figure):
    for setting, seen in zip(SETTINGS, figure.evaluate(READ, SETTINGS), strict=True):
        row = expected(setting)
        entropy = row_entropy(row).item()
        assert seen["weights"] == pytest.approx(row.tolist(), abs=1e-12), setting
        assert seen["query"] == setting["query"]
        assert seen["entropy"] == pytest.approx(entropy, abs=1e-12), setting
        assert seen["effective"] == pytest.approx(math.exp(entropy), rel=1e-12), setting
        best = row.sort(descending=True).values
        visible = setting["query"] + 1 if setting["causal"] else T
        wanted = [best[n].item() if n < visible else 0.0 for n in range(3)]
        assert [seen[n] for n in ("most", "second", "third")] == pytest.approx(wanted, abs=1e-12)
        masked = [word.endswith("masked") for word in seen["words"]]
        assert masked == [setting["causal"] and key > setting["query"] for key in range(T)]


def test_each_switch_matters():
    """Negation: the settings of the comparison give different rows, so none is ignored."""
    base = {"layer": 0, "head": 0, "scaled": True, "causal": True, "query": 4}
    for name, other in (("layer", 1), ("head", 1), ("scaled", False), ("causal", False)):
        difference = (expected(base) - expected({**base, name: other})).abs().max()
        assert difference > 0.05, name


def test_it_starts_where_the_data_say(figure):
    figure.wait_for_selector("figure[data-ready=true]")
    start = {**DATA["start"], "scaled": True, "causal": True}
    assert weights(figure) == pytest.approx(expected(start).tolist(), abs=1e-12)


def test_a_token_is_chosen_by_pointer_and_by_keyboard(figure):
    start = {**DATA["start"], "scaled": True, "causal": True}
    figure.hover(".attention-token[data-token='5']")
    assert value(figure, "query") == 5
    assert weights(figure) == pytest.approx(expected({**start, "query": 5}).tolist(), abs=1e-12)
    figure.focus(".attention-token[data-token='5']")
    for key, query in (("ArrowLeft", 4), ("ArrowRight", 5), ("Home", 0), ("End", T - 1)):
        figure.keyboard.press(key)
        assert value(figure, "query") == query, key
        wanted = expected({**start, "query": query})
        assert weights(figure) == pytest.approx(wanted.tolist(), abs=1e-12), key
    assert figure.locator(".attention-token[tabindex='0']").count() == 1


def test_the_map_follows_the_pointer(figure):
    """The row of the map under the pointer becomes the query."""
    cells = figure.locator(".attention-map rect[fill-opacity]")
    assert cells.count() == T * T
    cells.nth(2 * T).hover()
    assert value(figure, "query") == 2
    drawn = [float(cells.nth(2 * T + key).get_attribute("fill-opacity")) for key in range(T)]
    row = expected({**DATA["start"], "scaled": True, "causal": True, "query": 2})
    assert drawn == pytest.approx(row.sqrt().tolist(), abs=6e-4)


def test_the_chapter_shows_the_scores_of_the_stored_model():
    """nbval leaves the figure's data out of its comparison; here they are computed again."""
    data = explorable_data(CHAPTER, "attention")
    stored = pretrained.load("shakespeare-gpt")
    sentence = "".join(data["tokens"]).replace("↵", "\n")
    ids = torch.tensor([stored.tokenizer.encode(sentence)])
    assert len(data["tokens"]) == ids.size(1)
    assert data["d_head"] == stored.model.blocks[0].attention.d_head
    shown = torch.tensor(data["scores"]) / 1000
    torch.testing.assert_close(shown, raw_scores(stored.model, ids)[:, 0].cpu(), atol=5e-3, rtol=0)
