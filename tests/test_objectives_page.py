"""The explorable `objectives` makes the examples of `labs.train.objectives`, in a browser."""

import itertools

import pytest
import torch

from labs.text.tokenizers import BPETokenizer
from labs.train.objectives import IGNORE, Masked, causal, prefix_mask, span_corruption, span_counts
from labs.train.objectives_page import DRAWS, MEAN_SPANS, NAMES, RATES, page_data, shown

TEXT = "to be, or not to be,--that is the question:--whether 'tis nobler in the mind to suffer"
TOKENIZER = BPETokenizer.train([TEXT.encode() * 3], 290, ["[MASK]"])
ORDINARY = TOKENIZER.vocab_size - 1  # the mask is the last id
IDS = torch.tensor([TOKENIZER.encode(TEXT)])
DATA = page_data(TOKENIZER, TEXT, ORDINARY)
OBJECTIVES = ("causal", "masked", "spans")
# Moves every control to its place as a reader would, and reads the example and all results.
READ = """(settings) => {
  const figure = document.querySelector('figure.explorable[data-ready=true]');
  return settings.map((setting) => {
    for (const [name, place] of Object.entries(setting)) {
      const input = figure.querySelector(`[data-control="${name}"]`);
      input.value = place;
      input.dispatchEvent(new Event(input.type === "range" ? "input" : "change"));
    }
    const rows = [...figure.querySelectorAll(".objectives-row li")];
    return {
      inputs: rows.map((row) => row.dataset.input),
      asked: rows.map((row) => row.dataset.target),
      seen: rows.map((row) => !row.classList.contains("objectives-unseen")),
      chosen: rows.findIndex((row) => row.classList.contains("objectives-chosen")),
      ...Object.fromEntries([...figure.querySelectorAll("[data-output]")].map(
        (output) => [output.dataset.output, output.dataset.value])),
    };
  });
}"""


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("objectives", DATA)


def example(objective, rate, span, seed):
    """Inputs, targets and mask from Python: strings as on the page, '' where there is no loss."""
    generator = torch.Generator().manual_seed(seed)
    names = dict(enumerate((f"<{name}>" for name in NAMES), start=10_000))
    if objective == "causal":
        made, mask = causal(IDS), prefix_mask(0, IDS.size(1) - 1)
        inputs, targets = made.inputs[0], made.targets[0]
    elif objective == "masked":
        masked = Masked(ORDINARY, ORDINARY, rate=rate)
        made = masked(torch.cat((IDS, IDS[:, :1]), 1), generator)
        inputs, targets, mask = made.inputs[0], made.targets[0], None
    else:
        kept, asked = span_corruption(IDS, torch.tensor(list(names)), generator, rate, span)
        inputs = torch.cat((kept, asked[:, :-1]), 1)[0]
        targets = torch.cat((torch.full((kept.size(1) - 1,), IGNORE), asked[0]))
        mask = prefix_mask(kept.size(1), len(inputs))

    def words(ids):
        return ["" if i == IGNORE else names.get(i) or shown(TOKENIZER, i) for i in ids.tolist()]

    mask = torch.ones(len(inputs), len(inputs), dtype=torch.bool) if mask is None else mask
    return words(inputs), words(targets), mask


SETTINGS = list(itertools.product(OBJECTIVES, RATES, MEAN_SPANS, DRAWS, (1, 4, 99)))


def test_every_example_is_that_of_python(figure):
    places = [
        {
            "objective": OBJECTIVES.index(objective),
            "rate": RATES.index(rate),
            "span": MEAN_SPANS.index(span),
            "draw": DRAWS.index(draw),
            "inspect": inspect,
        }
        for objective, rate, span, draw, inspect in SETTINGS
    ]
    for setting, seen in zip(SETTINGS, figure.evaluate(READ, places), strict=True):
        inputs, targets, mask = example(*setting[:4])
        assert seen["inputs"] == inputs, setting
        assert seen["asked"] == targets, setting
        asked = [i for i, target in enumerate(targets) if target]
        dropped, spans = span_counts(IDS.size(1), setting[1], setting[2])
        share = (dropped + spans + 1) / (IDS.size(1) + 2 * spans)
        assert float(seen["spans"]) == pytest.approx(100 * share)
        assert float(seen["masked"]) == pytest.approx(100 * setting[1])
        assert int(seen["positions"]) == len(inputs) and int(seen["targets"]) == len(asked)
        assert float(seen["density"]) == pytest.approx(100 * len(asked) / len(inputs))
        if asked:
            chosen = asked[min(setting[4], len(asked)) - 1]
            assert seen["chosen"] == chosen and seen["answer"] == targets[chosen], setting
            assert seen["seen"] == mask[chosen].tolist(), setting
            assert int(seen["sees"]) == mask[chosen].sum()
        else:
            assert seen["answer"] == "none" and seen["sees"] == "0"


def test_the_settings_reach_every_fate():
    """Among the examples of the page are masks, random tokens, kept tokens and empty ones."""
    kinds = set()
    for rate, draw in itertools.product(RATES, DRAWS):
        inputs, targets, _ = example("masked", rate, 3, draw)
        raw = [shown(TOKENIZER, i) for i in IDS[0].tolist()]
        for word, target, original in zip(inputs, targets, raw, strict=True):
            if target:
                kinds.add("mask" if word == "[MASK]" else "kept" if word == original else "random")
        if not any(targets):
            kinds.add("nothing")
    assert {"mask", "kept", "random"} <= kinds


def test_it_moves_from_the_keyboard(figure):
    before = figure.get_attribute("[data-output=answer]", "data-value")
    figure.focus("[data-control=inspect]")
    figure.keyboard.press("ArrowRight")
    assert figure.get_attribute("[data-output=answer]", "data-value") != before
    assert figure.get_attribute("[data-output=sees]", "data-value") == "2"
