"""The corpus is the recorded one, and tokenizers lose nothing."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.text import corpus
from labs.text.tokenizers import END_OF_TEXT, BPETokenizer, ByteTokenizer, learn_merges, merge

SENTENCE = b"the cat sat on the mat, the cat ran; the mat sat." * 4
BPE = BPETokenizer.train([SENTENCE], 280)


def test_modern_corpus():
    works = corpus.shakespeare()
    assert len(works) == 42 and sum(len(work.data) for work in works) == 5_057_198
    assert all(work.data.isascii() for work in works)
    assert len(corpus.shakespeare("first_folio")) == 35
    assert "To be, or not to be" in corpus.document("hamlet").text


@pytest.mark.parametrize("edition", ["modern", "first_folio"])
def test_splits_share_no_work_and_cover_all(edition):
    names = {s: {work.name for work in corpus.split(s, edition)} for s in corpus.SPLITS}
    assert sum(map(len, names.values())) == len(corpus.shakespeare(edition))
    assert not set.intersection(*names.values())
    size = {s: sum(len(w.data) for w in corpus.split(s, edition)) for s in corpus.SPLITS}
    total = sum(size.values())
    assert 0.88 < size["train"] / total < 0.92
    assert all(0.04 < size[s] / total < 0.06 for s in ("validation", "test"))


def test_no_long_line_of_a_held_out_work_stands_in_training():
    def lines(works):
        return {line.strip() for work in works for line in work.text.splitlines() if len(line) > 45}

    train = lines(corpus.split("train"))
    for held_out in ("validation", "test"):
        assert not train & lines(corpus.split(held_out))


def test_english_chinese_pairs():
    pairs = corpus.english_chinese()
    assert len(pairs) == len(set(pairs)) > 3000
    chinese = sum("\u4e00" <= c <= "\u9fff" for _, zh in pairs for c in zh)
    assert chinese > 25_000


def test_python_code_is_code():
    modules = corpus.python_code()
    assert len(modules) == 52 and all(m.data.isascii() for m in modules)
    assert all("\ndef " in m.text or "\nclass " in m.text for m in modules)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="train, validation, test"):
        corpus.split("dev")
    with pytest.raises(KeyError, match="No work 'faust'"):
        corpus.document("faust")


def test_a_missing_package_says_what_to_install():
    source = dict(corpus.manifest()["shakespeare_modern"], package="no-such-package")
    with pytest.raises(corpus.CorpusError, match=r"not installed\. Run: pip install --no-deps"):
        corpus._read_checked(source, source["files"][0])


def test_a_damaged_file_is_noticed():
    source = corpus.manifest()["shakespeare_modern"]
    with pytest.raises(corpus.CorpusError, match=r"damaged .* Reinstall it: pip install"):
        corpus._read_checked(source, dict(source["files"][0], sha256="0" * 64))
    with pytest.raises(corpus.CorpusError, match="has no file"):
        corpus._read_checked(source, dict(source["files"][0], file="absent.txt"))


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), BPE], ids=["bytes", "bpe"])
class TestRoundTrip:
    @given(data=st.binary(max_size=200))
    def test_any_bytes(self, tokenizer, data):
        assert tokenizer.decode_bytes(tokenizer.encode(data)) == data

    @given(text=st.text(max_size=80))
    def test_any_text(self, tokenizer, text):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # lone surrogates are no text
            return
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_special_tokens(self, tokenizer):
        text = f"the cat{END_OF_TEXT}the mat"
        special = tokenizer.special[END_OF_TEXT]
        assert tokenizer.encode(text, allow_special=True).count(special) == 1
        assert special not in tokenizer.encode(text)
        for allowed in (True, False):
            assert tokenizer.decode(tokenizer.encode(text, allow_special=allowed)) == text

    def test_unknown_ids_are_refused(self, tokenizer):
        with pytest.raises(ValueError, match="No token has the id"):
            tokenizer.decode([tokenizer.vocab_size])


def slow_merges(pieces, n):
    """BPE as the paper's pseudo-code states it: count all pairs anew for every merge."""
    words, merges = {piece: list(piece) for piece in pieces}, []
    for _ in range(n):
        pairs = Counter()
        for piece, word in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += pieces[piece]
        best = max(pairs, key=lambda pair: (pairs[pair], (-pair[0], -pair[1])), default=None)
        if best is None or pairs[best] < 2:
            break
        words = {piece: merge(word, best, 256 + len(merges)) for piece, word in words.items()}
        merges.append(best)
    return merges


@given(st.dictionaries(st.binary(min_size=1, max_size=8), st.integers(1, 5), max_size=12))
def test_incremental_merges_equal_the_plain_algorithm(pieces):
    assert learn_merges(pieces, 12) == slow_merges(pieces, 12)


def test_bpe_on_a_worked_example():
    assert learn_merges({b"aaab": 1, b"aab": 2}, 2) == [(97, 97), (256, 98)]
    assert merge([97, 97, 97], (97, 97), 256) == [256, 97]
    assert len(BPE.encode(SENTENCE)) < len(SENTENCE) / 2


def test_bpe_save_and_load(tmp_path):
    BPE.save(tmp_path / "t.json")
    again = BPETokenizer.load(tmp_path / "t.json")
    assert again.merges == BPE.merges and again.special == BPE.special
    assert again.encode(SENTENCE) == BPE.encode(SENTENCE)


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="256"):
        BPETokenizer.train([SENTENCE], 256)
