"""The Sphinx extension survives what a build that broke off leaves behind."""

from types import SimpleNamespace

import book_site
import pytest


@pytest.mark.parametrize("left", ["nothing", "file", "folder"])
def test_a_build_starts_with_a_folder_for_static_files(tmp_path, left):
    static = tmp_path / "html" / "_static"
    if left == "file":  # the theme's logo, copied to a folder that was not there
        static.parent.mkdir()
        static.write_text("<svg/>")
    elif left == "folder":
        static.mkdir(parents=True)
        (static / "kept.css").write_text("")
    book_site.make_static_folder(SimpleNamespace(outdir=tmp_path / "html"))
    assert static.is_dir()
    assert [path.name for path in static.iterdir()] == (["kept.css"] if left == "folder" else [])
