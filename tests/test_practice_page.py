"""Exercises, glossary and indices in the built site, in a browser."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from labs.book.exercises import load_exercises
from labs.book.glossary import load_terms
from tests.browser import OpenPage

CHAPTER = "chapters/14_zero_memory.html"
SEARCHES = ["困惑度", "掩码语言模型", "张量并行", "perplexity", "loss scaling"]

# Types an answer into an exercise's form, presses Check, and returns what the page says.
ANSWER = """([name, answer]) => {
  const box = document.querySelector(`.exercise[data-exercise="${name}"][data-key]`);
  const inputs = [...box.querySelectorAll("input")];
  const parts = answer !== null && typeof answer === "object" ? Object.values(answer) : [answer];
  inputs.forEach((input, i) => { input.value = String(parts[i]); });
  box.querySelector("button").click();
  return [box.className, box.querySelector("output").textContent];
}"""


def forms(page: Page) -> list[str]:
    """The exercises of the page that have a form."""
    return page.evaluate(
        "[...document.querySelectorAll('.exercise[data-key] form')]"
        ".map((form) => form.closest('.exercise').dataset.exercise)"
    )


@pytest.mark.parametrize("chapter", sorted({name[1:3] for name in load_exercises()}))
def test_the_page_judges_as_the_notebook_does(chapter: str, open_page: OpenPage, site) -> None:
    pages = list((site / "chapters").glob(f"{chapter}_*.html"))
    assert len(pages) == 1
    page = open_page(f"chapters/{pages[0].name}")
    known = {n: e for n, e in load_exercises().items() if n[1:3] == chapter}
    with_form = forms(page)
    assert set(with_form) <= set(known) and with_form
    for name in with_form:
        exercise = known[name]
        state, said = page.evaluate(ANSWER, [name, exercise.answer])
        assert (state, said) == ("exercise exercise-accepted", "Accepted."), name
        for answer, hint in exercise.mistakes:
            state, said = page.evaluate(ANSWER, [name, answer])
            assert (state, said) == ("exercise exercise-hint", f"Not yet. {hint}"), name
        odd = "no such answer"
        blank = [odd] * len(exercise.answer) if hasattr(exercise.answer, "__len__") else odd
        assert page.evaluate(ANSWER, [name, blank])[1] == f"Not yet. {exercise.hint}", name


def test_an_answer_is_typed_as_people_write_numbers(open_page: OpenPage) -> None:
    page = open_page(CHAPTER)
    box = page.locator('.exercise[data-exercise="q14-e4"][data-key]')
    for field, typed in zip(box.locator("input").all(), (" 12 ", "3.0"), strict=True):
        field.fill(typed)
    box.locator("input").last.press("Enter")
    expect(box.locator("output")).to_have_text("Accepted.")


def test_an_exercise_can_be_read_without_scripts(open_page: OpenPage) -> None:
    page = open_page(CHAPTER, scripts=False)
    box = page.locator('.exercise[data-exercise="q14-e1"]').first
    expect(box).to_contain_text("four numbers, in GB")
    assert box.locator("input").count() == 0


def test_a_term_leads_to_its_definition(open_page: OpenPage) -> None:
    page = open_page(CHAPTER)
    names = page.locator("a.term").evaluate_all("(links) => links.map((a) => a.hash)")
    assert len(names) == len(set(names)) >= 5
    page.locator("a.term").first.click()
    page.wait_for_url("**/glossary.html#term-*")
    expect(page.locator(f".terms > div[id='{page.url.partition('#')[2]}']")).to_be_visible()


def test_the_glossary_lists_every_term_in_both_languages(open_page: OpenPage) -> None:
    page = open_page("glossary.html")
    shown = page.locator(".terms > div").evaluate_all("(items) => items.map((i) => i.textContent)")
    assert len(shown) == len(load_terms())
    for term, text in zip(load_terms(), shown, strict=True):
        assert term.term in text and term.zh in text and term.definition in text


@pytest.mark.parametrize("words", SEARCHES)
def test_search_finds_terms_in_both_languages(words: str, open_page: OpenPage) -> None:
    page = open_page(f"search.html?q={words}")
    results = page.locator("#search-results li a")
    expect(results.first).to_be_visible()
    assert results.count() >= 1
    hrefs = results.evaluate_all("(links) => links.map((a) => a.getAttribute('href'))")
    assert any("glossary" in href or "chapters/" in href for href in hrefs), json.dumps(hrefs)


def test_results_and_figures_are_listed(open_page: OpenPage) -> None:
    page = open_page("results.html")
    assert page.locator("table tbody td").count() > 100
    assert page.locator("a[href*='#fig-14-']").count() >= 3
    assert page.get_by_text("(it moves)").count() >= 10


def test_the_ledger_can_be_downloaded(open_page: OpenPage, site) -> None:
    page = open_page("ledger.html")
    for kind in ("csv", "json"):
        with page.expect_download() as download:
            page.locator(f"a[href='ledger.{kind}']").click()
        assert download.value.suggested_filename == f"ledger.{kind}"
        assert (site / f"ledger.{kind}").stat().st_size > 50_000


def test_every_chapter_has_its_time_in_the_front_matter(open_page: OpenPage) -> None:
    page = open_page("reading.html")
    rows = page.locator("table.costs tbody tr")
    assert rows.count() >= 19
    for text in rows.all_inner_texts():
        assert " s" in text and "GiB" in text
