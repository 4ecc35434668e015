"""The built site: complete, self-contained, light, and usable by everyone.

Links, images and downloads are checked in the files; everything that a reader sees or does is
checked in a real Chromium (`tests/browser.py`).
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import axe_playwright_python
import pytest
import yaml
from fontTools.ttLib import TTFont
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser import ROOT, Log, OpenPage

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")
AXE_RUN = """axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations'],
})"""
OPEN_FOLDS = "document.querySelectorAll('details').forEach(fold => fold.open = true)"
VIEWS = [("light", 1280), ("dark", 1280), ("light", 390)]
FIRST_LOAD = 450_000  # bytes, compressed
SHEET = 45_000  # bytes of the one style sheet, compressed
TEXT = {".html", ".css", ".js", ".svg", ".json", ""}
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
DOCUMENTS = [TOC["root"]] + [entry["file"] for part in TOC["parts"] for entry in part["chapters"]]
CHAPTERS = [name for name in DOCUMENTS if name.startswith("chapters/")]
NOTEBOOKS = [name for name in DOCUMENTS if (ROOT / f"{name}.ipynb").exists()]
PAGES = [f"{name}.html" for name in [*DOCUMENTS, "search"]]


class Parsed(HTMLParser):
    """Ids, references and images of one page, scripts' contents left out."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str]] = []
        self.sheets: list[str] = []
        self.blocking: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in pairs}
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.references += [attributes[name] for name in ("href", "src") if name in attributes]
        if "src" in attributes or tag == "link":
            self.loads.append(attributes.get("src") or attributes.get("href", ""))
        if attributes.get("rel") == "stylesheet":
            self.sheets.append(urlsplit(attributes["href"]).path.rpartition("/")[2])
        if tag == "script" and "src" in attributes and not {"defer", "async"} & set(attributes):
            self.blocking.append(attributes["src"])
        if tag == "img":
            self.images.append(attributes)


@pytest.fixture(scope="session")
def parsed(site: Path) -> dict[str, Parsed]:
    """Every HTML file of the site, parsed, by its path in the site."""
    files = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {str(p.relative_to(site)): Parsed(p.read_text("utf-8")) for p in files}


def broken_links(site: Path, parsed: dict[str, Parsed]) -> list[str]:
    """References that lead to no file of the site, or to no id of the page they name."""
    broken = []
    for name, page in parsed.items():
        for reference in page.references:
            parts = urlsplit(urljoin(f"http://site/{name}", reference))
            if urlsplit(reference).scheme:
                continue
            target = unquote(parts.path).lstrip("/")
            if not (site / target).is_file():
                broken.append(f"{name}: {reference} (no such file)")
            elif parts.fragment and target in parsed:
                anchor = unquote(parts.fragment)
                if anchor not in parsed[target].ids:
                    broken.append(f"{name}: {reference} (no such place in the page)")
    return broken


def test_every_document_is_built(parsed: dict[str, Parsed]) -> None:
    assert set(PAGES) <= set(parsed)


def test_no_broken_link(site: Path, parsed: dict[str, Parsed]) -> None:
    broken = broken_links(site, parsed)
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_another_host(parsed: dict[str, Parsed]) -> None:
    foreign = [
        f"{name}: {url}"
        for name, page in parsed.items()
        for url in page.loads
        if urlsplit(url).scheme not in ("", "data") or urlsplit(url).netloc
    ]
    assert not foreign, "\n".join(foreign)


def test_ids_are_unique(parsed: dict[str, Parsed]) -> None:
    repeated = {
        name: twice
        for name, page in parsed.items()
        if (twice := [id_ for id_, count in Counter(page.ids).items() if count > 1])
    }
    assert not repeated


def test_every_figure_has_alternative_text(parsed: dict[str, Parsed]) -> None:
    for name in (f"{chapter}.html" for chapter in CHAPTERS):
        figures = [image for image in parsed[name].images if "_images/" in image.get("src", "")]
        assert figures, f"{name} shows no figure"
        for image in figures:
            alt = image.get("alt", "")
            described = len(alt.split()) >= 3 and "_images/" not in alt
            assert described, f"{name}: {image['src']} needs alternative text (metadata mystnb)"


def test_nothing_but_one_small_style_sheet_holds_the_text_up(
    parsed: dict[str, Parsed], site: Path
) -> None:
    for name, page in parsed.items():
        assert page.sheets[0] == "site.css"
        assert set(page.sheets[1:]) <= {"interview.css"}, f"{name} links {page.sheets}"
        assert not page.blocking, f"{name}: {page.blocking} keep the text waiting"
    sheet = site / "_static" / "site.css"
    assert len(gzip.compress(sheet.read_bytes())) <= SHEET


def test_figures_have_their_size_and_come_late(parsed: dict[str, Parsed], site: Path) -> None:
    for name, page in parsed.items():
        for image in page.images:
            if "_images/" not in image["src"]:
                continue
            assert image.get("loading") == "lazy", f"{name}: {image['src']}"
            with Image.open(site / "_images" / Path(image["src"]).name) as picture:
                assert (image["width"], image["height"]) == tuple(map(str, picture.size))


def test_icons_are_in_their_font(open_page: OpenPage, site: Path) -> None:
    font = TTFont(site / "_static" / "icons.woff").getBestCmap()
    shown = open_page("chapters/06_attention.html").evaluate(
        """() => [...document.querySelectorAll("i[class*='fa-'], i.fas")].map(
          (icon) => getComputedStyle(icon, "::before").content.codePointAt(1))"""
    )
    assert len(shown) > 5
    assert set(shown) <= set(font)


@pytest.mark.parametrize("document", NOTEBOOKS)
def test_notebook_can_be_downloaded(document: str, open_page: OpenPage) -> None:
    page = open_page(f"{document}.html")
    with page.expect_download() as download:
        page.locator("a.notebook-download").click()
    offered = Path(download.value.path()).read_bytes()
    assert offered == (ROOT / f"{document}.ipynb").read_bytes()


@pytest.mark.parametrize("document", CHAPTERS)
def test_chapter_names_versions_and_machine(document: str, open_page: OpenPage) -> None:
    book = json.loads((ROOT / f"{document}.ipynb").read_text("utf-8"))["metadata"]["book"]
    footer = open_page(f"{document}.html").locator(".provenance")
    expect(footer).to_contain_text(book["versions"])
    expect(footer).to_contain_text(book["machine"])


def assert_accessible(page: Page, page_log: Log) -> None:
    """Fail with what axe finds in the page as it is now."""
    problems = list(page_log.problems)
    page.evaluate(AXE)
    found = [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in page.evaluate(AXE_RUN)["violations"]
        for node in rule["nodes"]
    ]
    page_log.problems[:] = problems  # axe asks for style sheets again, some by a wrong path
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("theme", "width"), VIEWS)
def test_accessible(path: str, theme: str, width: int, open_page: OpenPage, page_log: Log) -> None:
    page = open_page(path, theme=theme, width=width)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.evaluate(OPEN_FOLDS)
    page.wait_for_timeout(1000)  # the fade-in shows false contrasts
    assert_accessible(page, page_log)


@pytest.mark.parametrize("path", PAGES)
def test_no_sideways_scroll_on_a_phone(path: str, open_page: OpenPage) -> None:
    page = open_page(path, width=390)
    page.evaluate(OPEN_FOLDS)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("document", CHAPTERS)
def test_mathematics_is_set(document: str, open_page: OpenPage) -> None:
    page = open_page(f"{document}.html")
    formulas = page.locator(".bd-article .math.notranslate")
    assert formulas.count() > 0
    unset = [text for text in formulas.all_inner_texts() if "\\(" in text or "\\[" in text]
    assert not unset
    assert page.locator(".bd-article .math.notranslate .katex-html").count() == formulas.count()
    assert page.locator(".katex-error").count() == 0
    assert page.evaluate("document.fonts.check('16px KaTeX_Math')")


@pytest.mark.parametrize("path", PAGES)
def test_first_load_is_light(path: str, open_page: OpenPage, page_log: Log, site: Path) -> None:
    page = open_page(path)
    page.wait_for_timeout(500)
    files = {site / unquote(urlsplit(url).path).lstrip("/") for url in page_log.requests}
    sizes = {
        file.name: len(gzip.compress(file.read_bytes()))
        if file.suffix in TEXT
        else file.stat().st_size
        for file in files
        if file.is_file()
    }
    heaviest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) <= FIRST_LOAD, f"{sum(sizes.values())} bytes, most in {heaviest}"


def test_landing_page_has_twenty_cards_with_the_ledgers_counts(page: Page) -> None:
    questions = yaml.safe_load((ROOT / "data/questions.yml").read_text("utf-8"))
    claims = yaml.safe_load((ROOT / "data/claims.yml").read_text("utf-8"))
    cards = page.locator(".question-card")
    assert cards.count() == len(questions) == 20
    for card, question in zip(cards.all(), questions, strict=True):
        of_question = [c["verdict"] for c in claims if c["question"] == question["number"]]
        counts = card.locator(".card-counts li")
        for item in counts.all():
            verdict = item.get_attribute("data-verdict")
            assert item.inner_text().split()[1:] == [str(of_question.count(verdict)), verdict]
        assert counts.count() == 4
        expect(card).to_contain_text(question["title"])
        expect(card).to_contain_text(question["title_zh"])
        assert card.locator(".card-title a").count() == 1
    assert page.locator(".verdict-squares i").count() == len(claims)


def test_cards_and_contents_have_the_same_parts(page: Page) -> None:
    parts = zip(
        page.locator(".cards-part").all_inner_texts(),
        page.locator("ol.question-cards").all(),
        strict=True,
    )
    cards = {
        caption: [c.get_attribute("data-question") for c in group.locator("li.question-card").all()]
        for caption, group in parts
    }
    contents = {
        part["caption"]: [
            str(int(entry["file"].removeprefix("chapters/")[:2])) for entry in part["chapters"]
        ]
        for part in TOC["parts"]
        if part["chapters"][0]["file"].startswith("chapters/")
    }
    assert contents == {caption: numbers for caption, numbers in cards.items() if numbers}


def test_a_card_opens_its_chapter(page: Page) -> None:
    card = page.locator(".question-card").first
    title = card.locator(".card-title").inner_text()
    card.click()  # the whole card is the link
    expect(page.locator(".bd-article h1")).to_contain_text(title)


def test_search_finds_a_chapter(page: Page, site_url: str) -> None:
    page.goto(f"{site_url}chapters/06_attention.html")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input[type=search]").fill("redundancy")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=redundancy*")
    results = page.locator("#search-results li a[href*='14_zero_memory']")
    expect(results.first).to_be_visible()


def test_ledger_filters_by_keyboard(open_page: OpenPage) -> None:
    claims = yaml.safe_load((ROOT / "data/claims.yml").read_text("utf-8"))
    page = open_page("ledger.html")
    shown = page.locator(".ledger tbody tr:visible")
    assert shown.count() == len(claims)
    chapter = page.locator(".ledger-filter [name=chapter]")
    chapter.focus()
    page.keyboard.type("14")
    assert shown.count() == sum(claim["question"] == 14 for claim in claims)
    page.locator(".ledger-filter [name=verdict]").focus()
    page.keyboard.type("wrong")
    wanted = [c for c in claims if c["question"] == 14 and c["verdict"] == "wrong"]
    assert shown.count() == len(wanted)
    page.locator(".ledger-filter [name=text]").focus()
    page.keyboard.type(wanted[0]["id"])
    assert shown.count() == 1
    expect(shown).to_contain_text(wanted[0]["claim"])


def test_an_address_can_choose_the_claims(open_page: OpenPage) -> None:
    page = open_page("ledger.html?chapter=20&verdict=wrong")
    assert page.locator(".ledger section:visible").count() == 1
    assert set(page.locator(".ledger tbody tr:visible .claim-verdict").all_inner_texts()) == {
        "✗ wrong"
    }


def explorables_of(page: Page) -> list[str]:
    """Ids of the explorables of a page, each of them ready."""
    figures = page.locator("figure.explorable")
    for figure in figures.all():
        expect(figure).to_have_attribute("data-ready", "true")
        expect(figure.locator(".explorable-static")).to_be_hidden()
    return figures.evaluate_all("figures => figures.map(figure => figure.id)")


def move(control: Locator) -> None:
    """Change one control as a reader at the keyboard would."""
    control.focus()
    kind = control.get_attribute("type") or "select"
    if kind == "checkbox":
        control.press("Space")
    elif kind == "range":
        before = control.input_value()
        control.press("ArrowRight")
        if control.input_value() == before:
            control.press("ArrowLeft")
    elif kind == "text":
        now = control.input_value()
        number = control.get_attribute("inputmode") == "decimal"
        control.fill(f"{now} misfortune" if not number else "0.2" if now == "0.1" else "0.1")
    else:
        count = control.locator("option").count()
        chosen = int(control.evaluate("select => select.selectedIndex"))
        control.select_option(index=(chosen + 1) % count)


def shown_by(figure: Locator) -> tuple[tuple[str, ...], str]:
    """The numbers and the picture of an explorable, its controls left out."""
    numbers = figure.locator("[data-output]")
    values = numbers.evaluate_all("outputs => outputs.map(output => output.dataset.value)")
    stage = figure.locator(".explorable-stage")
    return tuple(values), stage.inner_html() if stage.count() else ""


@pytest.mark.parametrize("document", CHAPTERS)
def test_explorables_move(document: str, open_page: OpenPage) -> None:
    page = open_page(f"{document}.html")
    names = explorables_of(page)
    assert names, f"{document} has no explorable"
    for name in names:
        figure = page.locator(f"#{name}")
        numbers = figure.locator("[data-output]")
        assert numbers.count(), f"{name} shows no number that a test can read"
        start = state = shown_by(figure)
        seen = {start[0]}
        for control in figure.locator("[data-control]").all():
            before = state
            move(control)
            state = shown_by(figure)
            what = control.get_attribute("data-control")
            assert state != before, f"{name}: {what} changes neither number nor picture"
            seen.add(state[0])
        assert len(seen) > 1, f"{name}: no control changes a number"
        figure.locator(".explorable-reset").click()
        assert shown_by(figure) == start


@pytest.mark.parametrize("document", CHAPTERS)
def test_accessible_in_use(document: str, open_page: OpenPage, page_log: Log) -> None:
    page = open_page(f"{document}.html", theme="dark", width=390)
    page.evaluate(OPEN_FOLDS)
    for name in explorables_of(page):
        for control in page.locator(f"#{name} [data-control]").all():
            move(control)
    for form in page.locator(".exercise form").all():
        for field in form.locator("input").all():
            field.fill("0")
        form.locator("button").first.click()
    page.wait_for_timeout(1000)
    assert_accessible(page, page_log)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dialogs_are_accessible(theme: str, open_page: OpenPage, page_log: Log) -> None:
    page = open_page("chapters/06_attention.html", theme=theme)
    page.keyboard.press("Control+k")
    expect(page.locator("#pst-search-dialog")).to_be_visible()
    page.wait_for_timeout(500)
    assert_accessible(page, page_log)
    page = open_page("chapters/06_attention.html", theme=theme, width=390)
    page.locator(".primary-toggle:visible").first.click()
    expect(page.locator("#pst-primary-sidebar-modal")).to_be_visible()
    page.wait_for_timeout(500)
    assert_accessible(page, page_log)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_search_results_are_accessible(theme: str, open_page: OpenPage, page_log: Log) -> None:
    page = open_page("search.html?q=redundancy", theme=theme)
    expect(page.locator("#search-results li a").first).to_be_visible()
    page.wait_for_timeout(1000)
    assert_accessible(page, page_log)


@pytest.mark.parametrize("document", CHAPTERS)
def test_explorables_can_be_read_without_scripts(document: str, open_page: OpenPage) -> None:
    figures = open_page(f"{document}.html", scripts=False).locator("figure.explorable")
    assert figures.count() > 0
    for figure in figures.all():
        expect(figure.locator(".explorable-static")).to_be_visible()
        expect(figure.locator(".explorable-note")).to_be_visible()
        expect(figure.locator(".explorable-live")).to_be_hidden()
