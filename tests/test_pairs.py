"""Pairs of spans: what follows what, and what the coin and the three kinds draw."""

import math

import pytest

from labs.text.pairs import KINDS, Pair, Span, follows, make_pairs, sentences, spans

DOCUMENTS = [[Span(work, i, f"{work} {i}") for i in range(n)] for work, n in (("a", 5), ("b", 9))]


def test_spans_are_the_text_in_whole_sentences():
    found = spans("hamlet", 32)
    assert [s.index for s in found] == list(range(len(found)))
    assert all(len(s.text.split()) >= 32 for s in found)
    whole = " ".join(sentences("hamlet"))
    assert whole.startswith(" ".join(s.text for s in found))
    assert all(s.text[-1] in ".!?" for s in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_what_the_offsets_say(kind):
    pairs = make_pairs(DOCUMENTS, kind, 2000, seed=1)
    assert all(p.is_next == follows(p) for p in pairs)
    assert abs(sum(p.is_next for p in pairs) - 1000) < 3 * math.sqrt(500)
    negatives = [p for p in pairs if not p.is_next]
    same = {p.first.work == p.second.work for p in negatives}
    assert same == {kind != "other"}
    back = all(p.first.index == p.second.index + 1 for p in negatives)
    assert back == (kind == "swapped")
    assert all(p.first != p.second for p in pairs)


def test_a_seed_repeats_and_a_share_is_kept():
    assert make_pairs(DOCUMENTS, "same", 20, 3) == make_pairs(DOCUMENTS, "same", 20, 3)
    assert make_pairs(DOCUMENTS, "same", 20, 3) != make_pairs(DOCUMENTS, "same", 20, 4)
    assert all(p.is_next for p in make_pairs(DOCUMENTS, "other", 50, 0, share=1.0))
    both = [make_pairs(DOCUMENTS, "swapped", 50, 0, share=share) for share in (1.0, 0.0)]
    turned = [Pair(p.second, p.first, False) for p in both[0]]
    assert turned == both[1]


def test_impossible_pairs_are_refused():
    with pytest.raises(ValueError, match="No kind 'none'"):
        make_pairs(DOCUMENTS, "none", 1, 0)
    with pytest.raises(ValueError, match="two documents"):
        make_pairs(DOCUMENTS[:1], "other", 1, 0)
