"""The stored masking trunks are what their record says, and only the recipe differs."""

import shutil

import pytest
import torch

from labs.train import masking, trunks
from labs.train.masking import (
    DECOUPLED,
    EXACT,
    RATES,
    RECIPES,
    REFERENCE,
    Masking,
    MaskingTrainer,
    corrupt,
    load_runs,
    planned_runs,
    run_key,
    shared,
    states,
    stored_record,
)
from labs.train.objectives import IGNORE


@pytest.fixture(scope="module")
def tokens():
    return trunks.encode_plain(shared()[1], "train")


@pytest.fixture(scope="module")
def runs():
    return load_runs()


def test_files_are_small_and_complete(runs):
    assert (masking.FOLDER / masking.WEIGHTS).stat().st_size <= 10_000_000
    record = stored_record()["runs"]
    assert set(record) == {run_key(*run) for run in planned_runs()}
    assert set(runs) == {*planned_runs(), *((REFERENCE, seed) for seed in (0, 1, 2))}
    for run in record.values():
        assert len(run["first_losses"]) == EXACT
        assert len(run["means"]) == shared()[0].recipe.steps // masking.STRIDE


@pytest.mark.parametrize("recipe", [RECIPES[1], RATES[0], *DECOUPLED], ids=lambda r: r.name)
def test_first_steps_repeat_the_stored_trace(recipe, tokens):
    stored = stored_record()["runs"][run_key(recipe, 1)]["first_losses"][:2]
    assert MaskingTrainer(recipe, 1, tokens).run(until=2) == pytest.approx(stored, abs=1e-3)


def test_the_reference_recipe_is_the_masked_run_of_the_trunks(tokens):
    """Logits at the targets only: another order of sums, the same losses."""
    stored = trunks.load().record["first_losses"]["masked/2"][:3]
    assert MaskingTrainer(REFERENCE, 2, tokens).run(until=3) == pytest.approx(stored, abs=1e-3)


def test_states_are_what_the_head_reads(runs):
    model = runs[REFERENCE, 0]
    ids = torch.arange(64)[None] + 300
    with torch.no_grad():
        torch.testing.assert_close(model.head(states(model, ids)), model(ids))


def test_corrupting_and_asking_are_two_rates():
    ids = torch.full((400, 64), 300)
    for recipe in (REFERENCE, DECOUPLED[0], Masking(0.4)):
        inputs, targets = corrupt(ids, recipe, torch.Generator().manual_seed(0))
        changed = (inputs != ids).float().mean().item()
        asked = (targets != IGNORE).float().mean().item()
        assert changed == pytest.approx(0.9 * recipe.rate, abs=0.01), recipe
        assert asked == pytest.approx(recipe.asked or recipe.rate, abs=0.01), recipe


def test_recipes_differ_and_have_names_of_their_own():
    recipes = {recipe for recipe, _ in planned_runs()} | {REFERENCE}
    assert len({recipe.name for recipe in recipes}) == len(recipes) == 8
    assert DECOUPLED[0].name == "rate 40, 80/10/10, asked 15"


def test_damage_is_noticed(tmp_path, monkeypatch):
    shutil.copytree(masking.FOLDER, tmp_path / "copy")
    monkeypatch.setattr(masking, "FOLDER", tmp_path / "copy")
    path = tmp_path / "copy" / masking.WEIGHTS
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(trunks.ModelError, match="masking-trunks is damaged"):
        load_runs()
