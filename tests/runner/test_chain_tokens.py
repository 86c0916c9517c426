"""The same probes with no chain, a short one and the model's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from reground.edits.records import Row
from reground.evaluation.results import Summary
from reground.runner.journal import read_rows
from reground.runner.recipe import Recipe
from reground.runner.run import start_run


def run(world: Path, folder: Path, chain_tokens: int | None) -> tuple[list[Row], Summary]:
    recipe = Recipe.model_validate(
        {
            "name": "axis",
            "model": "scripted:editable",
            "benchmark": str(world),
            "methods": ["tell"],
            "protocol": {"belief_samples": 2, "bootstrap_resamples": 0, "chain_tokens": chain_tokens},
        }
    )
    result = start_run(recipe, folder)
    return read_rows(result.folder), result.summary


def test_rows_and_scores_tell_the_axis_apart(world: Path, tmp_path: Path) -> None:
    lengths = {}
    for chain_tokens in (None, 3, 0):
        rows, summary = run(world, tmp_path / str(chain_tokens), chain_tokens)
        assert {row.chain_tokens for row in rows} == {chain_tokens}
        assert {score.chain_tokens for score in summary.scores} == {chain_tokens}
        assert {row.trace.outcome for row in rows if row.trace} == {"answered"}
        lengths[chain_tokens] = {len((row.trace.chain or "").split()) for row in rows if row.trace}
        assert any("chains of the probes" in note for note in summary.notes) == (chain_tokens is not None)
    assert lengths[0] == {0}
    assert lengths[3] == {3}
    assert min(lengths[None]) > 3


def test_without_a_chain_nothing_is_said_of_grounding(world: Path, tmp_path: Path) -> None:
    _, summary = run(world, tmp_path / "run", 0)
    answer, grounded = (summary.find(metric, "exact", method="tell") for metric in ("answer", "grounded"))
    assert answer is not None
    assert grounded is not None
    assert (answer.value, grounded.value) == (1.0, None)
    assert grounded.reason is not None
    assert "no chain" in grounded.reason


def test_the_setting_moves_the_digest_of_a_recipe() -> None:
    fields = {"name": "axis", "model": "scripted:demo", "benchmark": "phantom", "methods": ["none"]}
    plain = Recipe.model_validate(fields)
    assert Recipe.model_validate({**fields, "protocol": {"chain_tokens": None}}).digest == plain.digest
    digests = {Recipe.model_validate({**fields, "protocol": {"chain_tokens": n}}).digest for n in (0, 16)}
    assert len({plain.digest, *digests}) == 3
    with pytest.raises(ValueError, match="chain_tokens"):
        Recipe.model_validate({**fields, "protocol": {"chain_tokens": -1}})
