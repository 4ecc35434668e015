"""Sphinx extension: what every page loads, made small. `make lighthouse` measures what it gains.

Themes link ten style sheets and eight scripts that a browser must have before it shows a word, and
bring the whole of Bootstrap and Font Awesome. When the pages are written, the sheets become one,
without the rules that name a class of no page, the icon font keeps the icons that are left, and
scripts wait for the text. In code, words in the colour of all the rest lose their marks, which are
half of what a browser would lay out. Figures get their size, so that nothing moves when they
arrive, and are loaded when the reader comes near.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagesize
import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

SHEET = "site.css"
ICONS = "icons.woff"
ICON_FONT = "vendor/fontawesome/webfonts/fa-solid-900"
OWN_PAGE = {"interview.css"}  # the sheet of one page
# Vendors' sheets with a class for everything. Others build names of classes in scripts: kept whole.
THINNED = re.compile(r"(pydata-sphinx-theme|sphinx-design|mystnb|basic|sphinx-book-theme)\b")
BUILT_BY_SCRIPT = ("bs-",)  # Bootstrap's tooltips
WORD = re.compile(r"[\w-]+")
LINK = re.compile(r'[ \t]*<link\b[^>]*rel="stylesheet"[^>]*>\n?')
LOADED = re.compile(r'<script[^>]*\bsrc="[^"]*_static/([^"?]+)')
SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<body>[^<]*)</script>")
ICON = re.compile(r"\\([ef][0-9a-f]{3})\b|([\ue000-\uf8ff])")
HIGHLIGHT = re.compile(
    r'(?m)^html\[data-theme="(\w+)"\] \.highlight (?:\.(\w+) )?\{ (.*?) ?\}(?: /\*.*)?$'
)
CODE = re.compile(r'<div class="highlight"><pre>.*?</pre>', re.DOTALL)
COLOUR = re.compile(r"(?<![-\w])color: #\w+")
IMAGE = re.compile(r'<img\b(?P<before>[^>]*?)src="(?:\.\./)*(?P<file>_images/[^"]+)"[^>]*>')


def names_of(prelude: list[Any]) -> Iterator[set[str]]:
    """Classes and ids that each selector of a rule asks for, those in brackets left out."""
    names: set[str] = set()
    after_dot = False
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            yield names
            names = set()
        elif token.type == "hash" or (token.type == "ident" and after_dot):
            names.add(token.value)
        after_dot = token.type == "literal" and token.value == "."
    yield names


def thinned(css: str | list[Any], words: set[str]) -> str:
    """The rules of `css` that can match where only the classes and ids in `words` occur."""
    parse = tinycss2.parse_stylesheet if isinstance(css, str) else tinycss2.parse_rule_list
    kept = []
    for rule in parse(css, skip_comments=True, skip_whitespace=True):
        if rule.type == "qualified-rule":
            if not any(
                all(name in words or name.startswith(BUILT_BY_SCRIPT) for name in names)
                for names in names_of(rule.prelude)
            ):
                continue
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inside = thinned(rule.content, words)
            if inside:
                condition = tinycss2.serialize(rule.prelude)
                kept.append(f"@{rule.at_keyword}{condition}{{{inside}}}")
            continue
        kept.append(rule.serialize())
    return "\n".join(kept)


def whole_sheet(static: Path, name: str) -> str:
    """The text of a sheet of `_static`: imports in place, addresses relative to `_static`."""
    folder = posixpath.dirname(name)

    def moved(match: re.Match[str]) -> str:
        return f'url("{posixpath.normpath(posixpath.join(folder, match[2]))}")'

    def imported(match: re.Match[str]) -> str:
        return whole_sheet(static, posixpath.normpath(posixpath.join(folder, match[1])))

    css = (static / name).read_text("utf-8")
    css = re.sub(r"""url\((['"]?)(?!['"]?(?:data:|https?:|/|#|%23))([^'")]+)\1\)""", moved, css)
    css = re.sub(r"/\*# sourceMappingURL=.*?\*/", "", css)
    return re.sub(r'@import "([^"]+)";', imported, css)


def keep_icons(static: Path, css: str) -> str:
    """Write the icon font with the icons that `css` names alone, and have `css` load that."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table
    font = TTFont(static / f"{ICON_FONT}.ttf")
    options = subset.Options(flavor="woff", notdef_outline=True)
    selected = subset.Subsetter(options)
    selected.populate(
        unicodes={int(code, 16) if code else ord(icon) for code, icon in ICON.findall(css)}
    )
    selected.subset(font)
    subset.save_font(font, str(static / ICONS), options)
    source = rf'src:\s*url\("?{re.escape(ICON_FONT)}[^;}}]*'
    css, changed = re.subn(source, f'src:url("{ICONS}") format("woff")', css)
    assert changed, f"no style sheet loads {ICON_FONT}: has the theme changed its icons?"
    return css


def sheets_of(html: str) -> list[str]:
    """Names in `_static` of the sheets that a page links."""
    addresses = (re.search(r'href="([^"?]+)', link)[1] for link in LINK.findall(html))
    return [address.partition("_static/")[2] for address in addresses]


def plain_marks(css: str) -> set[str]:
    """Classes of code that look like the code around them in every theme, by Pygments' sheet."""
    rules = HIGHLIGHT.findall(css)
    ground = {theme: COLOUR.search(style)[0] for theme, name, style in rules if not name}
    plain: dict[str, bool] = {}
    for theme, name, style in rules:
        if name:
            plain[name] = plain.get(name, True) and style == ground[theme]
    return {name for name, looks_plain in plain.items() if looks_plain}


def unmarked(html: str, plain: set[str]) -> str:
    """A page whose code has no marks that nobody sees."""
    mark = re.compile(rf'<span class="(?:{"|".join(sorted(plain))})">([^<]*)</span>')
    return CODE.sub(lambda block: mark.sub(r"\1", block[0]), html)


def late(match: re.Match[str]) -> str:
    """A script of the head that waits until the text is there; one that waits already stays."""
    attributes, body = match["attributes"], match["body"]
    if "src=" in attributes and "defer" not in attributes:
        attributes = f" defer{attributes}"
    elif "DOCUMENTATION_OPTIONS" in body and "type=" not in attributes:
        attributes = f' type="module"{attributes}'  # runs in order with those that wait
    return f"<script{attributes}>{body}</script>"


def sized(match: re.Match[str], out: Path) -> str:
    """An image with its size in pixels, which is loaded only when the reader comes near."""
    if " loading=" in match[0]:
        return match[0]
    width, height = imagesize.get(out / match["file"])
    return f'<img width="{width:.0f}" height="{height:.0f}" loading="lazy"{match[0][4:]}'


def lightened(html: str, sheet: str, out: Path) -> str:
    """A page with one style sheet for the common ones, scripts that wait and images with a size."""
    html = IMAGE.sub(functools.partial(sized, out=out), html)
    position = LINK.search(html)
    own = [link for link in LINK.findall(html) if any(name in link for name in OWN_PAGE)]
    root = re.search(r'data-content_root="([^"]*)"', html)
    if position is None or root is None:
        return html
    one = f'    <link rel="stylesheet" href="{root[1]}_static/{sheet}" />\n'
    rest = LINK.sub("", html[position.start() :])
    return SCRIPT.sub(late, html[: position.start()] + one + "".join(own) + rest)


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Write the common style sheet and the icon font, and rewrite every page to use them."""
    out = Path(app.outdir)
    static = out / "_static"
    pages = {
        path: path.read_text("utf-8") for path in out.rglob("*.html") if static not in path.parents
    }
    written = [html for html in pages.values() if SHEET not in html]
    if error or not written:
        return
    words = set(WORD.findall("\n".join(pages.values())))
    for script in set(LOADED.findall("\n".join(pages.values()))):
        words |= set(WORD.findall((static / script).read_text("utf-8")))
    sheets = dict.fromkeys(name for html in written for name in sheets_of(html))
    texts = {name: whole_sheet(static, name) for name in sheets if name not in OWN_PAGE}
    css = "\n".join(
        thinned(text, words) if THINNED.search(name) else text for name, text in texts.items()
    )
    css = keep_icons(static, css)
    (static / SHEET).write_text(css, "utf-8")
    sheet = f"{SHEET}?v={hashlib.sha256(css.encode()).hexdigest()[:8]}"
    plain = plain_marks((static / "pygments.css").read_text("utf-8"))
    for path, html in pages.items():
        path.write_text(unmarked(lightened(html, sheet, out), plain), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Rewrite the pages when all are written, before the build is stamped."""
    app.connect("build-finished", lighten, priority=600)  # the theme writes pygments.css at 500
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
