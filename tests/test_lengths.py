"""The commands that measure long context, and what they stored."""

from pathlib import Path

import pytest
import torch

from labs.model.transformer import GPT, Config
from labs.train import extension, lengths


def tiny(positions="rope", length=16):
    torch.manual_seed(0)
    return GPT(Config(256, length, n_layers=2, n_heads=4, d_model=32, positions=positions)).eval()


def test_windows_spread_over_the_text_to_its_end():
    tokens = torch.arange(100)
    rows = extension.windows(tokens, length=9, count=4)
    assert rows.shape == (4, 10) and rows[0, 0] == 0 and rows[-1, -1] == 99
    assert (rows.diff(dim=1) == 1).all()
    with pytest.raises(ValueError, match="no window of 100"):
        extension.windows(tokens, length=100)


def test_bins_are_means_of_the_losses_by_position():
    model, ids = tiny(), torch.randint(0, 256, (3, 129))
    bins = extension.binned_losses(model, ids)
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(
            model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none"
        )
    assert bins == pytest.approx([losses[:, :64].mean().item(), losses[:, 64:].mean().item()])


def test_each_method_sets_its_own_frequencies():
    model, seen = tiny(), []
    for method in extension.METHODS:
        rope = extension.stretched(model, method).blocks[1].attention.rope
        seen.append(None if rope is None else tuple(rope.frequencies.tolist()))
    assert seen[0] is None and len(set(seen)) == len(extension.METHODS)


def test_room_for_longer_text_leaves_the_trained_rows_alone():
    short = tiny("learned", lengths.TRAINED)
    longer = lengths.with_room(short)
    ids = torch.randint(0, 256, (1, lengths.TRAINED))
    torch.testing.assert_close(longer(ids), short(ids))
    assert longer(torch.zeros(1, lengths.TESTED, dtype=torch.long)).shape[1] == lengths.TESTED
    rope = tiny()
    assert lengths.with_room(rope) is rope


def test_the_stored_measurements_are_whole():
    tuned, trained = extension.load(), lengths.load()
    assert [(r["method"], r["seed"]) for r in tuned["runs"]] == [
        (method, seed) for method in extension.METHODS for seed in extension.SEEDS
    ]
    assert [(r["positions"], r["seed"]) for r in trained["runs"]] == [
        (kind, seed) for kind in lengths.POSITIONS for seed in lengths.SEEDS
    ]
    bins = extension.LENGTH // extension.BIN
    assert all(len(r["after"]) == bins and len(r["losses"]) == 40 for r in tuned["runs"])
    assert set(tuned["before"]) == set(extension.METHODS)
    assert all(len(r["by_position"]) == lengths.TESTED // extension.BIN for r in trained["runs"])
    for record in (tuned, trained):
        assert record["machine"] and record["date"] and record["seconds"] > 0


def test_make_repeats_every_stored_computation():
    """What a command of `labs.train` stores can be made again: the Makefile runs them all."""
    root = Path(lengths.__file__).parents[2]
    modules = (root / "labs" / "train").glob("*.py")
    commands = {f"labs.train.{m.stem}" for m in modules if "__main__" in m.read_text("utf-8")}
    makefile = (root / "Makefile").read_text("utf-8")
    assert {"labs.train.extension", "labs.train.lengths"} <= commands
    assert not [name for name in commands if f"-m {name}" not in makefile]
