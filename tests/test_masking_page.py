"""The explorable `masking` cuts and masks any text as Python does, in a browser."""

import itertools
import json
import re
import statistics
from pathlib import Path

import pytest
import torch

from labs.text.wordpiece import WordPieceTokenizer
from labs.train import objectives
from labs.train.masking_page import (
    DRAWS,
    LONGEST,
    RATES,
    RECIPES,
    UNITS,
    cut,
    example,
    page_data,
    selected_counts,
    uniforms,
)
from labs.train.objectives import IGNORE, mask_tokens
from labs.train.pretrained import MODELS
from tests.notebooks import explorable_data

CHAPTER = Path(__file__).resolve().parents[1] / "chapters" / "11_mlm.ipynb"
WORDS = WordPieceTokenizer.load(MODELS / "shakespeare-bert" / "vocab.txt")
TEXT = "Now is the winter of our discontent made glorious summer by this sun of York;"
TYPED = (
    TEXT,
    "Backpropagation, e-mail & GPT-4: it's 100% unforeseen!",
    "Über-naïve CAFÉ – “quoted” text… \t two\n lines",
    "我爱语言模型 and 😀 or\ufeff x\x1fy\u00a0z",
    "a" * 130 + " ok",
    "word " * 80,
    "",
)
DATA = page_data(WORDS, TEXT)
SETTINGS = [
    {"text": text, "unit": unit, "rate": rate, "recipe": recipe, "draw": draw}
    for text, unit, (rate, recipe, draw) in itertools.product(
        range(len(TYPED)), range(len(UNITS)), ((2, 0, 1), (7, 3, 2), (4, 2, 77), (5, 1, 100))
    )
]
# Types the text, moves every control as a reader would, and reads all positions and numbers.
READ = """([settings, typed]) => {
  const figure = document.querySelector('figure.explorable[data-ready=true]');
  return settings.map((setting) => {
    for (const [name, place] of Object.entries(setting)) {
      const input = figure.querySelector(`[data-control="${name}"]`);
      input.value = name === "text" ? typed[place] : place;
      input.dispatchEvent(new Event(input.tagName === "SELECT" ? "change" : "input"));
    }
    const rows = [...figure.querySelectorAll(".masking-row li")].map((row) => row.dataset);
    return {
      inputs: rows.map((row) => row.input),
      fates: rows.map((row) => row.fate),
      targets: rows.map((row) => row.target),
      ...Object.fromEntries([...figure.querySelectorAll("[data-output]")].map(
        (output) => [output.dataset.output, Number(output.dataset.value)])),
    };
  });
}"""


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("masking", DATA)


def asked_of(setting):
    """A setting's controls as arguments of `example`: an input of one line has no line breaks."""
    text = re.sub(r"[\r\n]", "", TYPED[setting["text"]])
    return text, setting["draw"], RATES[setting["rate"]], RECIPES[setting["recipe"]]


def test_the_page_cuts_and_masks_as_python_does(figure):
    for setting, seen in zip(SETTINGS, figure.evaluate(READ, [SETTINGS, TYPED]), strict=True):
        text, draw, rate, shares = asked_of(setting)
        unit = UNITS[setting["unit"]]
        made = example(WORDS, text, draw, rate, shares, unit)
        assert seen["inputs"] == ["[CLS]", *made.inputs, "[SEP]"], setting
        assert seen["fates"] == ["", *made.fates, ""], setting
        targets = [p if f else "" for p, f in zip(made.pieces, made.fates, strict=True)]
        assert seen["targets"] == ["", *targets, ""], setting
        assert seen["tokens"] == len(made.pieces)
        assert seen["selected"] == sum(map(bool, made.fates))
        for name in ("mask", "random", "kept"):
            assert seen[name] == made.fates.count(name), setting


def test_the_distribution_is_pythons(figure):
    few = [s for s in SETTINGS if s["text"] in (0, 1, 3) and s["rate"] in (2, 7)]
    for setting, seen in zip(few, figure.evaluate(READ, [few, TYPED]), strict=True):
        text, _, rate, shares = asked_of(setting)
        found = selected_counts(WORDS, text, rate, UNITS[setting["unit"]])
        usable = sum(piece != "[UNK]" for piece in cut(WORDS, text)[0])
        assert len(found) == DRAWS
        assert seen["mean"] == pytest.approx(statistics.mean(found))
        assert seen["spread"] == pytest.approx(statistics.pstdev(found))
        assert seen["expected"] == pytest.approx(usable * rate)
        ordinary = WORDS.vocab_size - len(WORDS.special_ids)
        assert seen["wrong"] == pytest.approx(usable * rate * shares[1] * (1 - 1 / ordinary))
        assert seen["binomial"] == pytest.approx((usable * rate * (1 - rate)) ** 0.5)


def test_the_page_masks_as_mask_tokens_does(monkeypatch):
    """With the same random numbers, `example` and the book's `mask_tokens` agree."""
    ids = torch.tensor(WORDS.encode(TEXT))
    n, ordinary = len(ids), WORDS.vocab_size - len(WORDS.special_ids)
    for seed, rate, shares in itertools.product((1, 2, 3), (0.15, 0.8), RECIPES):
        generator = uniforms(seed)
        select, fate, random = ([next(generator) for _ in range(n)] for _ in range(3))
        draws = iter((select, fate))
        indices = torch.tensor([int(u * ordinary) for u in random])
        with monkeypatch.context() as patch:
            patch.setattr(
                objectives.torch,
                "rand",
                lambda *a, d=draws, **k: torch.tensor(next(d), dtype=torch.float64),
            )
            patch.setattr(objectives.torch, "randint", lambda *a, i=indices, **k: i)
            inputs, targets = mask_tokens(
                ids,
                mask_id=WORDS.mask,
                vocab_size=WORDS.vocab_size,
                special_ids=WORDS.special_ids,
                generator=torch.Generator(),
                rate=rate,
                shares=shares,
            )
        made = example(WORDS, TEXT, seed, rate, shares)
        assert made.inputs == [WORDS.vocab[i] for i in inputs.tolist()]
        assert [bool(f) for f in made.fates] == (targets != IGNORE).tolist()


def test_the_generator_is_even():
    """Negation: a wrong shift or sign would bend the distribution or repeat."""
    generator = uniforms(11)
    drawn = [next(generator) for _ in range(20_000)]
    assert len(set(drawn)) > 19_990
    assert statistics.mean(drawn) == pytest.approx(0.5, abs=0.01)
    assert statistics.pstdev(drawn) == pytest.approx(12**-0.5, abs=0.01)


def test_whole_words_share_their_selection():
    text = "unforeseen misfortunes notwithstanding"
    made = [example(WORDS, text, seed, 0.5, RECIPES[0], "word") for seed in range(1, 40)]
    assert len(made[0].pieces) > len(set(made[0].owners))
    for one in made:
        for word in set(one.owners):
            fates = [bool(f) for f, o in zip(one.fates, one.owners, strict=True) if o == word]
            assert len(set(fates)) == 1
    assert len({tuple(one.fates) for one in made}) > 3


def test_a_typed_sentence_is_cut_at_once_and_reset_brings_the_first_back(figure):
    figure.fill("[data-control=text]", "To err is human")
    read = "rows => rows.map(row => row.dataset.target || row.dataset.input)"
    shown = figure.locator(".masking-row li").evaluate_all(read)
    assert shown == ["[CLS]", *cut(WORDS, "To err is human")[0], "[SEP]"]
    figure.click(".explorable-reset")
    assert figure.input_value("[data-control=text]") == TEXT
    assert figure.get_attribute("[data-control=text]", "maxlength") == str(LONGEST)


def test_the_chapter_shows_the_books_vocabulary():
    """nbval compares one line of the figure; here its data are made again."""
    data = explorable_data(CHAPTER, "masking")
    assert data == json.loads(json.dumps(page_data(WORDS, data["text"])))
    assert example(WORDS, data["text"], 1, 0.15, RECIPES[0]).inputs != cut(WORDS, data["text"])[0]
