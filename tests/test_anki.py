"""The deck of cards: Anki can open it, it is complete, and a newer one updates an older one."""

import json
import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from labs.book import anki
from labs.book.interview import load_interviews

WRITTEN = [interview for interview in load_interviews() if interview.question.written]
WANTED = [
    key
    for interview in WRITTEN
    for key in (
        f"q{interview.question.number:02d}",
        *(follow_up.id for follow_up in interview.follow_ups),
        *(claim.id for claim in interview.wrong),
    )
]


def opened(deck: Path, folder: Path) -> dict[str, list[tuple]]:
    """The tables of a deck: notes (guid, tags, fields), cards (note, position), ids of col."""
    with zipfile.ZipFile(deck) as archive:
        database = archive.extract("collection.anki2", folder)
    with closing(sqlite3.connect(database)) as connection:
        rows = {
            "notes": connection.execute("select guid, tags, flds, mid from notes order by id"),
            "cards": connection.execute("select nid, did, due from cards"),
            "col": connection.execute("select models, decks from col"),
        }
        return {name: cursor.fetchall() for name, cursor in rows.items()}


@pytest.fixture(scope="module")
def deck(tmp_path_factory) -> dict[str, list[tuple]]:
    folder = tmp_path_factory.mktemp("anki")
    count = anki.write_deck(folder / "new" / anki.DECK_FILE)
    assert count == len(WANTED)
    return opened(folder / "new" / anki.DECK_FILE, folder)


def test_there_is_one_card_for_each_question_follow_up_and_wrong_answer(deck):
    assert [card.key for card in anki.cards()] == WANTED
    assert len(deck["notes"]) == len(deck["cards"]) == len(WANTED)
    assert sorted(due for *_, due in deck["cards"]) == list(range(len(WANTED)))


def test_a_newer_deck_updates_the_cards_of_an_older_one(deck, tmp_path):
    anki.write_deck(tmp_path / "again.apkg")
    again = opened(tmp_path / "again.apkg", tmp_path)
    guids = [guid for guid, *_ in deck["notes"]]
    assert [guid for guid, *_ in again["notes"]] == guids and len(set(guids)) == len(guids)
    assert {note[3] for note in deck["notes"] + again["notes"]} == {anki.MODEL_ID}
    assert {card[1] for card in deck["cards"] + again["cards"]} == {anki.DECK_ID}
    models, decks = (json.loads(text) for text in deck["col"][0])
    assert str(anki.MODEL_ID) in models and str(anki.DECK_ID) in decks


def test_ids_never_change():
    """Other ids would double every card in the decks that readers already have."""
    assert (anki.DECK_ID, anki.MODEL_ID) == (1_764_041_201, 1_764_041_202)


def test_guids_hang_on_the_key_alone(monkeypatch, tmp_path, deck):
    made = anki.cards()
    mended = [*made[1:], made[0]]  # another order, another text
    mended = [anki.Card(**{**vars(card), "back": "mended"}) for card in mended]
    monkeypatch.setattr(anki, "cards", lambda: mended)
    anki.write_deck(tmp_path / "mended.apkg")
    new = opened(tmp_path / "mended.apkg", tmp_path)["notes"]
    assert {guid for guid, *_ in new} == {guid for guid, *_ in deck["notes"]}


def test_cards_are_tagged_by_chapter_and_have_chinese_beside_english(deck):
    slugs = {f"chapter::{interview.question.slug}" for interview in WRITTEN}
    seen = set()
    for _, tags, fields, _ in deck["notes"]:
        chapter, kind = tags.split()
        seen.add(chapter)
        assert kind in {"kind::question", "kind::follow-up", "kind::wrong-answer"}
        topic, front, chinese, back, where = fields.split("\x1f")
        assert topic and front and back and "Chapter" in where
        assert re.search(r"[\u4e00-\u9fff]", chinese), front
    assert seen == slugs


def test_wrong_answers_ask_for_a_reason_and_give_the_verdict():
    cards = {card.key: card for card in anki.cards()}
    for interview in WRITTEN:
        for claim in interview.wrong:
            card = cards[claim.id]
            assert card.topic == "True or false, and why?"
            assert f"</span> {claim.verdict}</strong>" in card.back and claim.id in card.where


def test_formulas_are_written_for_ankis_mathjax():
    card = next(card for card in anki.cards() if card.key == "q06-f1")
    assert r"\(\sqrt{d_k}\)" in card.front and r"\(\sqrt{d_k}\)" in card.chinese
    assert r"\(d_k = 1024\)" in card.back
    text = [text for c in anki.cards() for text in (c.front, c.chinese, c.back, c.where)]
    assert not [t for t in text if "$" in t or t.count(r"\(") != t.count(r"\)")]


def test_markdown_becomes_html_and_is_escaped():
    assert anki.html_of("**a** `<b>` <!-- 1 < 2") == (
        "<strong>a</strong> <code>&lt;b&gt;</code> &lt;!-- 1 &lt; 2"
    )
    assert r"\(x &lt; y\)" in anki.html_of("when $x < y$")
    assert anki.html_of("one\n\ntwo") == "<p>one</p>\n<p>two</p>"
