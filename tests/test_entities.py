"""Characters named in speeches: the lists in front of the plays, spans, and tags."""

from hypothesis import given
from hypothesis import strategies as st

from labs.text.corpus import document, shakespeare
from labs.text.entities import cast, find_spans, from_bio, tagged_speeches, to_bio

NAMES = frozenset({"Toby", "Belch", "Caesar", "Cassius"})


def spans(text):
    return find_spans(tuple(text.split()), NAMES)


def test_titles_belong_to_the_name_after_them():
    assert spans("hail , Sir Toby Belch !") == ((2, 5),)
    assert spans("Caesar , and Cassius") == ((0, 1), (3, 4))
    assert spans("good Sir , Caesar") == ((3, 4),)
    assert spans("Caesar Sir , stay") == ((0, 1),)
    assert spans("my Lord") == ()


def test_the_cast_of_macbeth():
    names = cast(document("macbeth"))
    assert {"Macbeth", "Banquo", "Macduff", "Fleance"} <= names
    assert not {"Lady", "Boy", "Young", "King"} & names
    assert cast(document("sonnets")) == frozenset()


def test_most_plays_have_a_cast():
    assert sum(len(cast(work)) > 8 for work in shakespeare()) >= 30


def test_mentions_in_a_play():
    found = [
        " ".join(speech.tokens[a:b])
        for speech in tagged_speeches(document("much_ado_about_nothing"))
        for a, b in speech.spans
    ]
    assert found.count("Don Pedro") > 3 and found.count("Signior Benedick") > 3
    assert 250 < len(found) < 400


def test_an_inside_without_a_beginning_begins():
    assert from_bio(["O", "I", "I", "B", "B", "I", "O"]) == ((1, 3), (3, 4), (4, 6))


@given(st.lists(st.sampled_from("BIO"), max_size=12))
def test_tags_and_spans_say_the_same(tags):
    once = from_bio(tags)
    assert from_bio(to_bio(len(tags), once)) == once
    assert sum(b - a for a, b in once) == sum(tag != "O" for tag in tags)
