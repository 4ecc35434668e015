"""Labels come from the printed page, agree with what is known, and leave no trace in the text."""

from collections import Counter

import pytest

from labs.text import labelled as lab
from labs.text.corpus import document, shakespeare
from labs.text.labelled import balanced, labelled, split_by_work, split_within
from labs.text.plays import Speech, is_verse, plain, speech_text, speeches


@pytest.mark.parametrize("task", lab.TASKS)
def test_windows_show_neither_layout_nor_capitals(task):
    windows = labelled(task, 120)
    assert len(windows) > 4000
    for window in windows:
        assert window.text == plain(window.text) and 1 <= len(window.text) <= 120
        assert "[" not in window.text and "]" not in window.text
    assert len({w.label for w in windows}) == {"genre": 3, "work": 42}.get(task, 2)


def test_genres_are_those_of_the_catalogue():
    assert {g: len(w.split()) for g, w in lab.GENRES.items()} == {
        "comedy": 14, "history": 10, "tragedy": 11,
    }  # fmt: skip
    folio = {lab.MODERN_NAME.get(w.name, w.name) for w in shakespeare("first_folio")}
    assert folio == set(lab.GENRE_OF) <= {w.name for w in shakespeare()}


def test_the_first_speeches_of_hamlet():
    first, second = speeches(document("hamlet"))[:2]
    assert first == Speech("BER", ("Who's there?",))
    assert second == Speech("FRAN", ("Nay, answer me: stand, and unfold yourself.",))


def test_verse_is_where_scholars_find_it():
    """King John, Richard II and two parts of Henry VI have next to no prose, Merry Wives little
    verse."""

    def verse_lines(name):
        known = [(is_verse(s), len(s.lines)) for s in speeches(document(name))]
        lines = {kind: sum(n for k, n in known if k is kind) for kind in (True, False)}
        return lines[True] / sum(lines.values())

    for name in ("john", "richard_ii", "henry_vi_part_1", "henry_vi_part_3"):
        assert verse_lines(name) > 0.99
    assert verse_lines("merry_wives_of_windsor") < 0.25
    assert 0.3 < verse_lines("much_ado_about_nothing") < 0.6


@pytest.mark.parametrize(
    ("lines", "verse"),
    [
        (("To be, or not to be,", "Whether 'tis", "The slings", "'Or to take"), True),
        (("He set up his", "and my uncle's fool", "challenged him", "I pray you"), False),
        (("One line", "Two", "Three"), None),
        (("One line", "Two", "Three", "four"), None),
    ],
)
def test_layout_decides_verse(lines, verse):
    assert is_verse(Speech("A", lines)) is verse


def test_pairs_of_directions_and_speeches_have_about_the_same_length():
    windows = labelled("direction", 120)
    for direction, speech in zip(windows[::2], windows[1::2], strict=True):
        assert (direction.label, speech.label) == ("direction", "speech")
        assert len(direction.text) - 22 <= len(speech.text) <= len(direction.text)
    starts = Counter(w.text.split()[0] for w in windows if w.label == "direction")
    assert {"enter", "exit", "exeunt"} < {word for word, _ in starts.most_common(6)}


def test_spelling_is_the_only_difference_of_the_editions():
    words = {"modern": Counter(), "folio": Counter()}
    for window in labelled("spelling"):
        words[window.label].update(window.text.split())
    assert words["folio"]["haue"] > 1000 > words["folio"]["have"]
    assert words["modern"]["have"] > 1000 and words["modern"]["haue"] == 0
    assert len({w.work for w in labelled("spelling")}) == 35


def test_windows_of_one_work_follow_each_other():
    windows = [w for w in labelled("work", 80) if w.work == "sonnets"]
    text = plain(document("sonnets").text)
    for window in windows:
        assert text[window.start : window.start + len(window.text)] == window.text
    covered = sum(len(w.text) + 1 for w in windows)
    assert len(text) - 80 < covered <= len(text) + 1


def test_a_split_shares_no_work():
    train, test = split_by_work(labelled("genre"))
    assert {w.work for w in test} == {
        "macbeth", "twelfth_night", "julius_caesar", "much_ado_about_nothing",
    }  # fmt: skip
    assert not {w.work for w in train} & {w.work for w in test}
    _, lear = split_by_work(labelled("genre"), ["lear"])
    assert {w.label for w in lear} == {"tragedy"}


def test_a_split_within_works_keeps_every_work_on_both_sides():
    early, late = split_within(labelled("work"))
    assert {w.work for w in early} == {w.work for w in late} == {w.name for w in shakespeare()}
    ends = {w.work: w.start for w in early}
    assert all(w.start > ends[w.work] for w in late)
    assert 0.17 < len(late) / (len(early) + len(late)) < 0.23


def test_balanced_draws():
    windows = labelled("verse")
    drawn = balanced(windows, 50, seed=1)
    assert Counter(w.label for w in drawn) == {"verse": 50, "prose": 50} and len(set(drawn)) == 100
    assert drawn == balanced(windows, 50, seed=1) != balanced(windows, 50, seed=2)
    with pytest.raises(ValueError, match="'prose' has"):
        balanced(windows, 10**6, seed=1)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="take one of genre, work"):
        labelled("mood")


def test_capitals_are_names_and_leave_no_trace():
    words = lab.capitals()
    text = {w.work: speech_text(w.work) for w in words}
    count = {"name": Counter(), "other": Counter()}
    for word in words:
        count[word.label][text[word.work][word.start : word.end]] += 1
    assert not any(t != t.lower() for t in text.values())
    assert 15_000 < count["name"].total() < 25_000 < 250_000 < count["other"].total()
    for name in ("rome", "caesar", "lord", "england"):
        assert count["name"][name] > 50
    for other in ("that", "your", "love", "hand"):
        assert count["other"][other] > 50 * max(1, count["name"][other])
    assert len({w.work for w in words}) == 37


def test_the_context_of_a_word():
    word = next(w for w in lab.capitals() if w.work == "hamlet" and w.label == "name")
    before, after = word.context(30, 20)
    text = speech_text("hamlet")
    assert before + after == text[word.start - 30 : word.end + 20]
    assert before.endswith(text[word.start : word.end]) and " " not in text[word.start : word.end]
    assert document("hamlet").text.count(text[word.start : word.end].capitalize()) > 0
