"""Side memories at work: one statistic, one decision for each row, and memories that are merged or archived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError
from reground.methods.chain_target import edit_query
from reground.methods.registry import create_config, create_editor
from reground.methods.weight_edit import WeightEdit
from reground.methods.wise import layers
from reground.methods.wise.layers import AttachedMemories
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

QUICK: dict[str, Any] = {"num_steps": 2, "num_irrelevant": 4}
OTHERS = [Query(question="what?"), Query(question="which drug comes first after velmora syndrome and osquine?")]


def apply(model: Any, edits: list[Edit], **settings: Any) -> WeightEdit:
    edited = create_editor("wise", {**QUICK, **settings}).apply(model, edits)
    assert isinstance(edited, WeightEdit)
    return edited


def memories(model: HfModel, *, thresholds: list[float], scales: list[float]) -> AttachedMemories:
    """Memories that add a multiple of the main one, on the last layer."""
    path = model.layer_path(-1, "mlp.down_proj")
    weight = model.module.get_submodule(path).weight.detach()
    weights = [weight * (1 + scale) for scale in scales]
    return AttachedMemories(model, path, weights, torch.tensor(thresholds), "mean")


@pytest.mark.reference
def test_a_row_goes_to_the_most_activated_memory_above_its_threshold_or_to_the_main_one(tiny_model: HfModel) -> None:
    """Columns are prompts: above both; above the first alone; above the second alone; above none."""
    attached = memories(tiny_model, thresholds=[1.0, 4.0], scales=[1.0, 2.0])
    activations_MB = torch.tensor([[2.0, 2.0, 1.0, 0.5], [5.0, 4.0, 4.5, 3.0]])
    assert attached.route(activations_MB).tolist() == [1, 0, 1, -1]
    attached.detach()


def test_rows_of_a_padded_batch_are_routed_one_by_one_and_once(
    tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Existing ports read the mean while they train, the maximum when they answer, and anew for every token."""
    queries = [OTHERS[0], edit_query(tiny_edits[0]), OTHERS[1]]
    with apply(tiny_model, tiny_edits[:1], route_share=0.99, num_steps=20) as edited:
        alone = [edited.generate([query], max_new_tokens=6)[0] for query in queries]
        calls: list[list[float]] = []
        read = layers.activations

        def spy(*arguments: Any) -> torch.Tensor:
            found = read(*arguments)
            calls.append(found.tolist())
            return found

        monkeypatch.setattr(layers, "activations", spy)
        together = edited.generate(queries, max_new_tokens=6)
        (routing,) = edited.details["routing"]
        threshold = float(edited.saved.details["routing"][0]["threshold"])
    assert together == alone
    assert len(calls) == 1
    assert routing["smallest_edit"] * 0.99 == pytest.approx(threshold)


def test_the_statistic_is_the_same_in_training_in_scoring_and_in_generation(
    tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = edit_query(tiny_edits[0])
    with apply(tiny_model, tiny_edits[:1]) as edited:
        calls: list[float] = []
        read = layers.activations

        def spy(*arguments: Any) -> torch.Tensor:
            found = read(*arguments)
            calls.extend(found.tolist())
            return found

        monkeypatch.setattr(layers, "activations", spy)
        edited.generate([query], max_new_tokens=3)
        edited.score([query], ["a completion of some length"])
        edited.fingerprint([query])
        (routing,) = edited.details["routing"]
    # The threshold is in units of the main memory, as the smallest activation is.
    threshold = float(edited._edit_tensors()["thresholds"])
    for value in calls:
        assert value == pytest.approx(threshold / 0.8, rel=1e-4)
    assert len(calls) == 3
    assert routing["threshold"] == pytest.approx(0.8 * routing["smallest_edit"])


def test_prompts_below_the_threshold_are_bit_for_bit_as_before(tiny_model: HfModel) -> None:
    before = tiny_model.fingerprint(OTHERS)
    attached = memories(tiny_model, thresholds=[1e6, 1e6], scales=[1.0, 2.0])
    assert tiny_model.fingerprint(OTHERS) == before
    attached.detach()


def test_only_the_masked_share_of_one_weight_changes(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    base = tiny_model.module.get_submodule(tiny_model.layer_path(-1, "mlp.down_proj")).weight.detach()
    with apply(tiny_model, tiny_edits[:1], mask_share=0.1) as edited:
        tensors = edited._edit_tensors()
    assert set(tensors) == {"memory.0", "thresholds"}
    share = float((tensors["memory.0"] != base).float().mean())
    assert 0.05 < share < 0.15


def test_shards_are_merged_into_one_memory_or_archived(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with apply(tiny_model, tiny_edits, edits_per_shard=1) as merged:
        assert set(merged._edit_tensors()) == {"memory.0", "thresholds"}
        assert len(merged.details["shards"]) == 2
    with apply(tiny_model, tiny_edits, edits_per_shard=1, memory="retrieve", shards_per_memory=1) as archived:
        assert set(archived._edit_tensors()) == {"memory.0", "memory.1", "thresholds"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"layer": 7}, "text layer 7"), ({"module": "mlp"}, "a linear layer"), ({"irrelevant": "absent.jsonl"}, "absent")],
)
def test_what_cannot_be_used_is_refused(
    tiny_model: HfModel, tiny_edits: list[Edit], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        apply(tiny_model, tiny_edits, **settings)


def test_margins_that_cannot_all_be_kept_are_refused() -> None:
    with pytest.raises(InputError, match="contradict"):
        create_config("wise", {"alpha": 5.0, "beta": 6.0, "gamma": 2.0})


def test_a_memory_is_saved_with_what_it_needs_and_nothing_else(
    tiny_model: HfModel, tiny_edits: list[Edit], tmp_path: Path
) -> None:
    with apply(tiny_model, tiny_edits) as edited:
        edited.save(tmp_path)
    (main,) = [
        parameter.numel() * 4
        for name, parameter in tiny_model.layer_parameters(-1, "mlp.down_proj").items()
        if name.endswith("weight")
    ]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < main + 20_000
