"""JSON files are written whole or not at all."""

import json

import pytest

from labs.book.files import write_json


def test_numbers_are_rounded_and_everything_else_is_kept(tmp_path):
    path = tmp_path / "a.json"
    data = {"b": [0.123456, 7, True, None, "0.123456"], "a": {"c": -2.00049}}
    write_json(path, data, digits=3)
    assert json.loads(path.read_text()) == {"b": [0.123, 7, True, None, "0.123456"], "a": {"c": -2}}
    write_json(path, data, indent=1, sort_keys=True)
    assert json.loads(path.read_text()) == data
    assert path.read_text().startswith('{\n "a"') and path.read_text().endswith("}\n")
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert path.read_text() == "[1]\n" and list(tmp_path.iterdir()) == [path]


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, [1])

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_json(path, [2])
    assert path.read_text() == "[1]\n"
