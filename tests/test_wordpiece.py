"""WordPiece: training picks what raises the likelihood, encoding is BERT's greedy longest match."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.text import corpus
from labs.text.wordpiece import (
    SPECIAL,
    WordPieceTokenizer,
    join,
    join_all,
    learn_units,
    likelihood_gain,
    spell,
    split_words,
)

SENTENCE = "The cat sat on the mat, the cat ran; the mat sat. " * 4
TINY = WordPieceTokenizer([*SPECIAL, "un", "##aff", "##able", "##a", "aff", "a", "!", "un##"])


def test_words_are_split_as_in_bert():
    assert split_words("Café naïveté,\t2026: it's\nUN-believable!!") == (
        ["cafe", "naivete", ",", "2026", ":", "it", "'", "s", "un", "-", "believable", "!", "!"]
    )
    assert split_words("北京 is a city") == ["北", "京", "is", "a", "city"]
    assert split_words("zero\u200bwidth \u0301") == ["zerowidth"]


def test_longest_match_wins_from_the_left():
    pieces = [TINY.vocab[i] for i in TINY.encode("Unaffable!")]
    assert pieces == ["un", "##aff", "##able", "!"]
    assert TINY.encode("unq") == [TINY.unk]  # one unknown character, and the word is lost
    assert TINY.encode("a" * 100) != [TINY.unk] == TINY.encode("a" * 101)
    assert TINY.encode("") == []


def test_frames_and_owners():
    a, b = TINY.encode("un"), TINY.encode("aff")
    assert TINY.frame(a) == ([TINY.cls, *a, TINY.sep], [0, 0, 0])
    assert TINY.frame(a, b) == ([TINY.cls, *a, TINY.sep, *b, TINY.sep], [0, 0, 0, 1, 1])
    ids, owner = TINY.encode_words(["Unaffable", "!", "a"])
    assert (len(ids), owner) == (5, [0, 0, 0, 1, 2])
    assert TINY.decode(ids) == "unaffable ! a"


def test_the_gain_is_that_of_the_likelihood():
    """5 of 10 pieces a, 5 of 10 b, always as a pair: ln(10 · 5 / 25) nats for each of the 5."""
    gain = likelihood_gain(np.array([5.0]), np.array([5.0]), np.array([5.0]), 10)
    assert gain == pytest.approx([5 * math.log(2)])


def slow_units(words, n):
    """The same rule, with everything counted anew for every unit."""
    spelled = {word: spell(word) for word in words}
    units = []
    while len({join(best) for best, _ in units}) < n:
        pieces, pairs = {}, {}
        for word, parts in spelled.items():
            for a in parts:
                pieces[a] = pieces.get(a, 0) + words[word]
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + words[word]
        total = sum(pieces.values())
        gains = {
            p: c * math.log(c * total / (pieces[p[0]] * pieces[p[1]]))
            for p, c in pairs.items()
            if c > 1
        }
        if not gains or max(gains.values()) <= 0:
            break
        best = max(gains, key=gains.get)
        spelled = {word: join_all(parts, best) for word, parts in spelled.items()}
        units.append((best, gains))
    return units


@given(st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 9), max_size=8))
def test_incremental_training_picks_a_best_unit_each_time(words):
    learned = learn_units(words, 4)
    for unit, (best, gains) in zip(learned, slow_units(words, 4), strict=False):
        if unit != join(best):  # two units may gain the same: then they part ways rightly
            rival = max(gain for pair, gain in gains.items() if join(pair) == unit)
            assert rival == pytest.approx(gains[best])
            return


def test_a_trained_vocabulary_knows_its_text(tmp_path):
    tokenizer = WordPieceTokenizer.train([SENTENCE.encode(), SENTENCE], 60)
    assert tokenizer.vocab[:5] == list(SPECIAL)
    assert "the" in tokenizer.vocab and len(set(tokenizer.vocab)) == tokenizer.vocab_size
    ids = tokenizer.encode(SENTENCE)
    assert tokenizer.unk not in ids
    assert tokenizer.decode(ids) == " ".join(split_words(SENTENCE))
    tokenizer.save(tmp_path / "vocab.txt")
    assert WordPieceTokenizer.load(tmp_path / "vocab.txt").encode(SENTENCE) == ids


def test_what_cannot_be_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"lacks \[CLS\], \[MASK\]"):
        WordPieceTokenizer(["[PAD]", "[UNK]", "[SEP]"])
    with pytest.raises(ValueError, match="characters"):
        WordPieceTokenizer.train([SENTENCE], 10)


def test_ids_are_those_of_the_published_tokenizer():
    """Made once with tokenizers 0.23.3 from the package's own `tokenizer.json`."""
    vocabulary = corpus.read("minilm", "vocab.txt").decode().splitlines()
    tokenizer = WordPieceTokenizer(vocabulary)
    assert tokenizer.vocab_size == 30_522
    assert tokenizer.encode("To be, or not to be: that is the question.") == [
        2000, 2022, 1010, 2030, 2025, 2000, 2022, 1024, 2008, 2003, 1996, 3160, 1012,
    ]  # fmt: skip
    assert tokenizer.encode(
        "Café naïveté, 2026: unbelievable!!  antidisestablishmentarianism"
    ) == [
        7668, 15743, 2618, 1010, 16798, 2575, 1024, 23653, 999, 999,
        3424, 10521, 4355, 7875, 13602, 3672, 12199, 2964,
    ]  # fmt: skip
    assert tokenizer.encode("北京 is a city\tof 21 million") == [
        1781, 1755, 2003, 1037, 2103, 1997, 2538, 2454,
    ]  # fmt: skip
    hamlet = tokenizer.encode(corpus.document("hamlet").text)
    digest = hashlib.sha256(",".join(map(str, hamlet)).encode()).hexdigest()
    assert (len(hamlet), digest) == (
        47_181,
        "96376eb657a5386b6aa7205a9feb2a34834fd85842602e6b7802bab2e56ed68e",
    )
