"""The n-gram baseline: probabilities that sum to one, and the formula worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.model.ngram import NGram


@given(
    st.lists(st.integers(0, 3), min_size=6, max_size=60),
    st.lists(st.integers(0, 3), min_size=2, max_size=2),
    st.integers(1, 3),
)
def test_next_token_probabilities_sum_to_one(text, context, order):
    model = NGram(text, vocab_size=4, order=order)
    history = context[: order - 1]
    total = sum(model.probabilities([*history, token])[0] for token in range(4))
    assert total == pytest.approx(1.0)


def test_bigram_by_hand():
    # text a b a b a c: bigrams ab 2, ba 2, ac 1; continuation counts a 1, b 1, c 1
    model = NGram([0, 1, 0, 1, 0, 2], vocab_size=3, order=2)
    d = 1 / (1 + 2 * 2)  # one bigram seen once, two seen twice
    unigram = np.full(3, 1 / 3)  # all three continuation counts are 1
    p_b_after_a = (2 - d) / 3 + d * 2 / 3 * unigram[1]
    p_c_after_b = 0 + d * 1 / 2 * unigram[2]
    assert model.probabilities([0, 1])[0] == pytest.approx(p_b_after_a)
    assert model.probabilities([1, 2])[0] == pytest.approx(p_c_after_b)


def test_longer_context_helps_on_periodic_text():
    text = [0, 1, 0, 2] * 50
    losses = [NGram(text, 3, order).nats(text[: 40 + order - 1]) for order in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]


def test_too_large_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="64 bits"):
        NGram([1, 2, 3], vocab_size=50_000, order=5)
