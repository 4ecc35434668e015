"""The interview page: complete, folded, usable by keyboard, without scripts and on paper."""

import sqlite3
import zipfile
from contextlib import closing

import pytest
from playwright.sync_api import Locator, Page, expect

from labs.book.anki import DECK_FILE, cards
from labs.book.interview import load_interviews
from tests.browser import OpenPage

PAGE = "interview.html"
INTERVIEWS = load_interviews()
WRITTEN = [entry for entry in INTERVIEWS if entry.question.written]
FOLDS = sum(1 + len(entry.follow_ups) + len(entry.wrong) for entry in WRITTEN)
SHOWN = "bodies => bodies.filter(body => body.checkVisibility() && body.clientHeight > 9).length"
IS_OPEN = "folds => folds.filter(fold => fold.open).length"


def folds(page: Page) -> Locator:
    return page.locator("details.interview-fold")


def question(page: Page, number: int) -> Locator:
    return page.locator(f"section#interview-q{number:02d}")


def test_every_question_is_listed_with_what_belongs_to_it(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    assert page.locator("section.interview").count() == len(INTERVIEWS) == 20
    for entry in INTERVIEWS:
        section = question(page, entry.question.number)
        expect(section.locator("h2")).to_contain_text(entry.question.title.replace("'", "’"))
        expect(section.locator("p.interview-zh")).to_have_text(entry.question.title_zh)
        assert section.locator(".interview-answer").count() == int(entry.question.written)
        asked = section.locator(".interview-follow-up")
        ids = asked.evaluate_all("all => all.map(one => one.id)")
        assert ids == [f"interview-{follow_up.id}" for follow_up in entry.follow_ups]
        wrong = section.locator(".interview-wrong")
        assert wrong.count() == len(entry.wrong)
        for fold, claim in zip(wrong.all(), entry.wrong, strict=True):
            expect(fold.locator("summary")).to_contain_text(claim.claim)
            expect(fold.locator("summary [lang=zh-Hans]")).to_contain_text(claim.claim_zh)
            expect(fold.locator(".claim-verdict")).to_contain_text(claim.verdict)
            expect(fold.locator(".interview-body")).to_contain_text(claim.why)
            assert fold.locator(f"a[href='ledger.html#{claim.id}']").count() == 1
            cell = f"a[href='{entry.question.page}#{claim.anchor}']"
            assert fold.locator(cell).count() == int(claim.experiment is not None)


def test_formulas_are_set(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    formulas = page.locator(".interview .math.notranslate")
    assert formulas.count() > 50
    assert page.locator(".interview .math .katex-html").count() == formulas.count()
    assert page.locator(".katex-error").count() == 0


def test_answers_are_folded_and_open_by_keyboard(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    assert folds(page).count() == FOLDS and folds(page).evaluate_all(IS_OPEN) == 0
    fold = question(page, 6).locator(".interview-follow-up").first
    body = fold.locator(".interview-body")
    expect(body).to_be_hidden()
    question(page, 6).locator(".interview-answer summary").focus()
    page.keyboard.press("Tab")
    assert fold.locator("summary").evaluate("summary => summary === document.activeElement")
    page.keyboard.press("Enter")
    expect(body).to_be_visible()
    page.keyboard.press("Space")
    expect(body).to_be_hidden()


def test_all_answers_open_and_close(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    page.get_by_role("button", name="Open all answers").press("Enter")
    assert folds(page).evaluate_all(IS_OPEN) == FOLDS
    page.get_by_role("button", name="Close all answers").click()
    assert folds(page).evaluate_all(IS_OPEN) == 0


def test_it_works_without_scripts(open_page: OpenPage) -> None:
    page = open_page(PAGE, scripts=False)
    for button in page.locator("button[data-interview]").all():
        expect(button).to_be_hidden()
    fold = question(page, 1).locator(".interview-answer")
    expect(fold.locator(".interview-body")).to_be_hidden()
    fold.locator("summary").click()
    expect(fold.locator(".interview-body")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("scripts", [True, False])
def test_paper_shows_all_answers_in_black_and_no_navigation(
    theme: str, scripts: bool, open_page: OpenPage
) -> None:
    page = open_page(PAGE, theme=theme, scripts=scripts)
    bodies = page.locator(".interview-body")
    assert bodies.evaluate_all(SHOWN) == 0
    page.emulate_media(media="print")
    assert bodies.evaluate_all(SHOWN) == bodies.count() == FOLDS
    for part in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article",
                 ".prev-next-footer", ".interview-tools", "#jb-print-docs-body"):  # fmt: skip
        for element in page.locator(part).all():
            expect(element).to_be_hidden()
    expect(page.locator("h1", has_text="Interview mode").last).to_be_visible()
    text = bodies.first.locator("p").first
    assert text.evaluate("p => getComputedStyle(p).color") == "rgb(0, 0, 0)"


def test_a_question_is_a_page_of_paper(open_page: OpenPage) -> None:
    page = open_page(PAGE, theme="dark")
    pages = page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert len(INTERVIEWS) <= pages <= len(INTERVIEWS) + 3  # with wide fonts a few take two


def test_printing_leaves_the_folds_as_they_were(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    question(page, 2).locator(".interview-answer summary").click()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert folds(page).evaluate_all(IS_OPEN) == FOLDS  # for browsers that CSS cannot tell to
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert folds(page).evaluate_all(IS_OPEN) == 1


def test_links_lead_to_the_place_in_the_chapter(open_page: OpenPage, site_url: str) -> None:
    page = open_page(PAGE)
    fold = question(page, 6).locator(".interview-follow-up").first
    fold.locator("summary").click()
    fold.locator(".interview-link a").click()
    page.wait_for_url(f"{site_url}chapters/06_attention.html#why-divide-by-sqrt-d-k")
    assert page.locator("#why-divide-by-sqrt-d-k").count() == 1


def test_the_deck_can_be_downloaded(open_page: OpenPage, tmp_path) -> None:
    page = open_page(PAGE)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the Anki deck").click()
    assert download.value.suggested_filename == DECK_FILE
    with zipfile.ZipFile(download.value.path()) as archive:
        database = archive.extract("collection.anki2", tmp_path)
    with closing(sqlite3.connect(database)) as connection:
        ((count,),) = connection.execute("select count(*) from cards")
    assert count == len(cards())


def test_the_landing_page_leads_to_the_interview(page: Page) -> None:
    page.locator(".landing-actions").get_by_role("link", name="Interview mode").click()
    expect(page.locator(".bd-article h1")).to_contain_text("Interview mode")
