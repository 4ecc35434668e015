"""The two spellings of Shakespeare are aligned speech by speech."""

import numpy as np
import pytest

from labs.text.corpus import document
from labs.text.parallel import (
    align,
    folio_speeches,
    shared_words,
    spelling_key,
    spelling_pairs,
)


@pytest.mark.parametrize(
    ("folio", "modern"),
    [("vpon", "upon"), ("haue", "have"), ("doe", "do"), ("Ioy", "joy"), ("againe", "again"),
     ("wonne", "won"), ("faire", "fair"), ("Souldier", "souldier")],
)  # fmt: skip
def test_spellings_of_one_word_share_a_key(folio, modern):
    assert spelling_key(folio) == spelling_key(modern)


def test_words_that_differ_keep_their_difference():
    assert len({spelling_key(w) for w in ("king", "queen", "not", "now", "hate", "love")}) == 6


def test_folio_speeches_have_no_names_and_no_directions():
    speeches = folio_speeches(document("macbeth", "first_folio"))
    assert speeches[:2] == [
        "When shall we three meet againe?\nIn Thunder, Lightning, or in Raine?",
        "When the Hurley-burley's done,\nWhen the Battaile's lost, and wonne",
    ]
    assert not any("Exeunt." in speech.splitlines() for speech in speeches)


def test_shared_words_by_hand():
    shares = shared_words(["doe you see", "I doe"], ["do you see it", "no"])
    assert np.allclose(shares, [[6 / 7, 0], [2 / 6, 0]])


def test_alignment_skips_what_one_edition_lacks():
    folio = ["whence camest thou", "speake then", "I will not goe"]
    modern = ["whence camest thou", "a speech that was added", "speak then", "I will not go"]
    assert [(i, j) for i, j, _ in align(folio, modern)] == [(0, 0), (1, 2), (2, 3)]


def test_pairs_of_the_test_plays():
    pairs = spelling_pairs("test")
    assert {pair.work for pair in pairs} == {"julius_caesar", "much_ado_about_nothing"}
    assert len(pairs) > 1200  # of about 1,700 speeches
    lengths = np.array([(len(p.folio.split()), len(p.modern.split())) for p in pairs])
    ratio = lengths[:, 0] / lengths[:, 1]
    assert np.mean(np.abs(np.log(ratio)) < 0.25) > 0.98
    known = [p for p in pairs if p.modern.startswith("Why, sir, a carpenter")]
    assert [p.folio for p in known] == ["Why Sir, a Carpenter"]


def test_unknown_split():
    with pytest.raises(ValueError, match="No split 'nowhere'"):
        spelling_pairs("nowhere")
