"""Terms are defined once, in two languages; every chapter keeps to the notation table."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

from labs.book.chapter_text import without_fences
from labs.book.claims import load_questions
from labs.book.glossary import GlossaryError, by_name, load_symbols, load_terms, pattern

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
WRITTEN = [question for question in load_questions() if question.written]
GREEK = re.compile(
    r"\\(alpha|beta|gamma|delta|(var)?epsilon|eta|theta|lambda|mu|rho|sigma|tau|phi|psi|omega|pi"
    r"|Psi|Phi|Sigma|Theta|Omega|Delta|Gamma|Lambda)"
)
ENTRY = {"term": "token", "zh": "词元", "chapter": 1, "definition": "A piece of text."}
OFTEN = 3  # from so many uses on, a letter of a chapter must stand in the table
FUNCTIONS = "text|mathrm|operatorname|texttt|begin|end|label|mathbf|mathcal|mathbb"


def prose(question):
    """The Markdown of a chapter without code."""
    notebook = nbformat.read(CHAPTERS / f"{question.slug}.ipynb", as_version=4)
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    return re.sub(r"`[^`\n]*`", "", without_fences(text))


def letters(text):
    """How often each capital and each Greek letter stands in the formulas, subscripts left out."""
    found = Counter()
    for display, inline in re.findall(r"(?s)\$\$(.+?)\$\$|\$([^$\n]+?)\$", text):
        formula = re.sub(rf"\\(?:{FUNCTIONS})\*?\{{[^}}]*\}}", "", display or inline)
        formula = re.sub(r"_(\{[^{}]*\}|\\?[A-Za-z0-9]+|.)", "", formula)
        for name in re.findall(r"\\[a-zA-Z]+|(?<![a-zA-Z\\])[A-Z](?![a-zA-Z])", formula):
            if not name.startswith("\\") or GREEK.fullmatch(name):
                found[name] += 1
    return found


@pytest.mark.parametrize("question", WRITTEN, ids=lambda question: question.slug)
def test_the_letters_of_a_chapter_stand_in_the_notation_table(question):
    known = {
        letter.strip()
        for symbol in load_symbols()
        if question.number in symbol.chapters
        for letter in symbol.symbol.split(",")
    }
    used = {letter for letter, times in letters(prose(question)).items() if times >= OFTEN}
    assert used <= known, f"not in data/notation.yml for {question.number}: {sorted(used - known)}"


@pytest.mark.parametrize("symbol", load_symbols(), ids=lambda s: f"{s.symbol}: {s.meaning[:30]}")
def test_a_symbol_is_used_where_the_table_says(symbol):
    for question in WRITTEN:
        if question.number in symbol.chapters:
            formulas = " ".join(re.findall(r"(?s)\$\$.+?\$\$|\$[^$\n]+?\$", prose(question)))
            names = set(re.findall(r"\\[a-zA-Z]+|[A-Za-z]", formulas))
            wanted = {letter.strip() for letter in symbol.symbol.split(",")}
            assert wanted <= names, f"{wanted - names} is not used in chapter {question.number}"


@pytest.mark.parametrize("term", load_terms(), ids=lambda term: term.term)
def test_the_chapter_that_explains_a_term_uses_it(term):
    question = load_questions()[term.chapter - 1]
    if question.written:
        found = {by_name()[m[1].casefold()] for m in pattern(0).finditer(prose(question))}
        assert term in found, f"{term.term} does not stand in chapter {term.chapter}"


def test_the_longest_form_is_found():
    assert pattern(1).search("a causal language model is")[1] == "causal language model"
    assert pattern(1).search("ZeRO-Offload")[1] == "ZeRO-Offload"
    assert not pattern(1).search("sub-attentional")


def test_a_name_is_matched_as_it_is_written():
    assert pattern(1).search("Attention is")[1] == "Attention"
    assert pattern(1).search("of ZeRO")[1] == "ZeRO"
    assert not pattern(1).search("near zero") and not pattern(1).search("a muon")


def test_a_word_is_not_linked_where_it_means_something_else():
    assert pattern(7).search("calibration") and not pattern(19).search("calibration")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"zh": "token"}, "`zh` must be Chinese"),
        ({"chapter": 21}, "`chapter` must be 1 to 20"),
        ({"definition": "A piece of text"}, "must be a sentence"),
        ({"meaning": "x"}, "its fields are not those of a term"),
    ],
)
def test_a_bad_term_is_told(tmp_path, change, problem):
    path = tmp_path / "glossary.yml"
    path.write_text(yaml.safe_dump([{**ENTRY, **change}]), encoding="utf-8")
    with pytest.raises(GlossaryError, match=f"token: .*{problem}"):
        load_terms(path)


def test_a_form_stands_for_one_term(tmp_path):
    path = tmp_path / "glossary.yml"
    other = {**ENTRY, "term": "piece", "also": ["Token"]}
    path.write_text(yaml.safe_dump([ENTRY, other]), encoding="utf-8")
    with pytest.raises(GlossaryError, match="'token' also stands for 'token'"):
        load_terms(path)
