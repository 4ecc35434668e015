"""A claim's card shows on the page what its experiment observed."""

import claim_cards
import pytest

from labs.book.claims import load_questions
from tests.browser import ROOT, OpenPage

WRITTEN = [question for question in load_questions() if question.written]


def test_observations_are_words_with_their_sign():
    record = {
        "stated": [{"true": False, "observed": "1 < 2"}],
        "corrected": [{"true": True, "observed": "2 > 1"}],
    }
    html = claim_cards.observed_html(record)
    assert "<strong>not true</strong>: 1 &lt; 2" in html
    assert "<strong>true of the correction</strong>: 2 &gt; 1" in html


@pytest.mark.parametrize("question", WRITTEN, ids=lambda question: question.slug)
def test_every_card_shows_what_was_observed(question, open_page: OpenPage):
    known = claim_cards.records(ROOT / "chapters" / f"{question.slug}.ipynb")
    page = open_page(question.page)
    cards = page.locator(".claim-card")
    assert cards.count() == len(known) > 0
    for card in cards.all():
        record = known[card.locator(".claim-id").inner_text()]
        shown = card.locator("li").all_inner_texts()
        wanted = [one["observed"] for kind in ("stated", "corrected") for one in record[kind]]
        assert len(shown) == len(wanted)
        for text, words in zip(shown, wanted, strict=True):
            assert " ".join(words.split()) in " ".join(text.split())
