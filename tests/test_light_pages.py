"""What the pages load: style sheets are thinned without loss, and Lighthouse's reports are read."""

import importlib.util

import pytest

from tests import lighthouse
from tests.browser import ROOT

SPEC = importlib.util.spec_from_file_location("light_pages", ROOT / "_ext" / "light_pages.py")
light_pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(light_pages)

KEPT = [
    "a{color:red}",
    ".used, .unused{color:red}",
    ".used:not(.unused){color:red}",
    "[class~=unused]{color:red}",
    "@font-face{src:url(a.woff)}",
    "@media print{.used{color:red}}",
    ".bs-tooltip-auto{color:red}",
]


@pytest.mark.parametrize("css", KEPT)
def test_rules_that_may_match_stay(css):
    assert light_pages.thinned(css, {"used"}).replace(" ", "") == css.replace(" ", "")


@pytest.mark.parametrize(
    "css", [".unused{color:red}", ".used .unused{color:red}", "#unused{color:red}",
            "@media print{.unused{color:red}}"],
)  # fmt: skip
def test_rules_for_a_class_of_no_page_go(css):
    assert light_pages.thinned(css, {"used"}) == ""


def test_addresses_and_imports_are_seen_from_the_common_sheet(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "base.css").write_text("p{background:url(data:image/png;base64,AA)}")
    (tmp_path / "styles/theme.css").write_text('@import "../base.css";i{src:url(../f/icons.woff)}')
    css = light_pages.whole_sheet(tmp_path, "styles/theme.css")
    assert css == 'p{background:url(data:image/png;base64,AA)}i{src:url("f/icons.woff")}'


def test_a_page_is_lightened_once(tmp_path):
    page = (
        '<html data-content_root="../"><link href="../_static/styles/a.css" rel="stylesheet" />\n'
        '<link rel="stylesheet" href="../_static/interview.css" />\n<script src="a.js"></script>'
        "<script>DOCUMENTATION_OPTIONS.a = 1;</script><script>let b;</script></html>"
    )
    once = light_pages.lightened(page, "site.css?v=1", tmp_path)
    assert light_pages.sheets_of(once) == ["site.css", "interview.css"]
    assert '<script defer src="a.js">' in once
    assert '<script type="module">DOCUMENTATION_OPTIONS' in once
    assert "<script>let b;" in once
    assert light_pages.lightened(once, "site.css?v=1", tmp_path) == once


def report(performance, paint, failed=()):
    """The parts of a Lighthouse report that are read."""
    audits = {name: {"numericValue": paint} for name in lighthouse.METRICS}
    audits |= {"image-alt": {"score": int("image-alt" not in failed)}}
    references = [{"id": "image-alt", "weight": 1}]
    return {
        "categories": {
            name: {"score": performance, "auditRefs": references} for name in lighthouse.CATEGORIES
        },
        "audits": audits,
        "environment": {"benchmarkIndex": 3000.4},
    }


def test_medians_of_the_loads_and_every_failed_audit_are_kept():
    reports = [report(0.97, 900), report(0.5, 5000, failed=["image-alt"]), report(0.99, 1000)]
    kept = lighthouse.median_scores(reports)
    assert kept["performance"] == 97
    assert kept["performance_of_each_load"] == [97, 50, 99]
    assert kept["first_paint_ms"] == 1000
    assert kept["failed"] == ["image-alt"]


def test_without_node_one_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setattr(lighthouse.shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["lighthouse"])
    assert lighthouse.main() == 1
    assert capsys.readouterr().err.strip() == lighthouse.NEEDS_NODE


PYGMENTS = """
html[data-theme="light"] .highlight .hll { background-color: #7971292e }
html[data-theme="light"] .highlight { background: #fefefe; color: #080808 }
html[data-theme="light"] .highlight .k { color: #6730C5 } /* Keyword */
html[data-theme="light"] .highlight .n { color: #080808 } /* Name */
html[data-theme="light"] .highlight .o { color: #080808 } /* Operator */
html[data-theme="light"] .highlight .gs { color: #080808; font-weight: bold } /* Strong */
html[data-theme="dark"] .highlight { background: #2b2b2b; color: #F8F8F2 }
html[data-theme="dark"] .highlight .k { color: #DCC6E0 } /* Keyword */
html[data-theme="dark"] .highlight .n { color: #F8F8F2 } /* Name */
html[data-theme="dark"] .highlight .o { color: #ABE338 } /* Operator */
html[data-theme="dark"] .highlight .gs { color: #F8F8F2; font-weight: bold } /* Strong */
"""


def test_marks_that_nobody_sees_go_from_code_and_only_there():
    plain = light_pages.plain_marks(PYGMENTS)
    assert plain == {"n"}
    words = '<span class="k">if</span> <span class="n">x</span>'
    page = f'<div class="highlight"><pre>{words}</pre></div><p>{words}</p>'
    left = f'<div class="highlight"><pre><span class="k">if</span> x</pre></div><p>{words}</p>'
    assert light_pages.unmarked(page, plain) == left
