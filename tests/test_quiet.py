"""What children write is lost inside `silent`, and only there."""

import os

from labs.ranks.quiet import silent


def test_only_what_is_inside_is_lost(capfd):
    os.system("echo before; echo before >&2")
    with silent():
        os.system("echo inside; echo inside >&2")
    os.system("echo after; echo after >&2")
    seen = capfd.readouterr()
    assert seen.out == seen.err == "before\nafter\n"
