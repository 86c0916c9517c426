"""The tower below what is trained is computed once for a picture, and the edit is the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from reground.edits.records import Edit, ImageRef
from reground.methods import lower_tower as module
from reground.methods.chain_target import edit_query
from reground.methods.lower_tower import LowerTower
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel
from reground.models.hf.tiny import TINY_FAMILIES

NUM_STEPS = 3


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> list[LowerTower]:
    """Those that edits have made."""
    made: list[LowerTower] = []

    class Listed(LowerTower):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr("reground.methods.completion_training.LowerTower", Listed)
    return made


@contextmanager
def counted(tower_layer: torch.nn.Module) -> Iterator[list[int]]:
    """Calls of the linear parts of a layer, in one number."""
    calls = [0]

    def called(*_: Any) -> None:
        calls[0] += 1

    linear = [part for part in tower_layer.modules() if isinstance(part, torch.nn.Linear)]
    handles = [part.register_forward_hook(called) for part in linear]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def edited(model: HfModel, edits: list[Edit], method: str, **settings: Any) -> tuple[str, int]:
    """A fingerprint of the edited model, and how often parts of the lowest layer were called."""
    editor = create_editor(method, {"num_steps": NUM_STEPS, "loss_floor": 1e-30, **settings})
    with counted(model.tower_layers[0]) as calls, editor.apply(model, edits) as found:
        num_calls = calls[0]
        return found.fingerprint([edit_query(edit) for edit in edits]), num_calls


@pytest.fixture
def two_pictures(tiny_edits: list[Edit], tiny_images: list[str]) -> list[Edit]:
    first = next(edit for edit in tiny_edits if edit.image is not None)
    fields = {name: getattr(first, name) for name in Edit.model_fields if name != "id"}
    return [Edit(**{**fields, "image": ImageRef(frames=(path,))}) for path in tiny_images[:2]]


def plain(model: HfModel, edits: list[Edit], method: str, **settings: Any) -> tuple[str, int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LowerTower, "in_force", lambda _: contextmanager(lambda: iter([None]))())
        patch.setattr(LowerTower, "batch", lambda _, make: make())
        return edited(model, edits, method, **settings)


@pytest.mark.parametrize("method", ["ft-vision", "ft-projector"])
@pytest.mark.parametrize("family", sorted(TINY_FAMILIES))
def test_an_edit_is_the_same_and_its_lower_layers_are_run_once(
    family: str,
    method: str,
    family_copy: Callable[[str], HfModel],
    tiny_edits: list[Edit],
    towers: list[LowerTower],
) -> None:
    model, edits = family_copy(family), [edit for edit in tiny_edits if edit.image is not None]
    (expected, plain_calls), (found, calls) = plain(model, edits, method), edited(model, edits, method)
    assert found == expected
    assert towers[-1]._is_used and towers[-1]._kept
    is_lowest = method == "ft-vision" and model.num_tower_layers_read == 1
    assert (plain_calls / NUM_STEPS).is_integer()
    if is_lowest:  # the parts before its MLP alone
        assert calls < plain_calls
    else:
        assert calls == plain_calls / NUM_STEPS
    assert "forward" not in vars(model.tower_layers[0])


def test_batches_that_take_turns_have_their_own(
    one_tiny_model: HfModel, two_pictures: list[Edit], towers: list[LowerTower]
) -> None:
    expected, plain_calls = plain(one_tiny_model, two_pictures, "ft-vision", batch_size=1)
    found, calls = edited(one_tiny_model, two_pictures, "ft-vision", batch_size=1)
    assert found == expected
    assert calls == plain_calls / NUM_STEPS


def test_what_is_kept_is_bounded(
    one_tiny_model: HfModel, two_pictures: list[Edit], towers: list[LowerTower], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, plain_calls = plain(one_tiny_model, two_pictures, "ft-vision", batch_size=1)
    monkeypatch.setattr(module, "num_bytes", lambda _: 0)
    edited(one_tiny_model, two_pictures[:1], "ft-vision")
    of_one = sum(kept.num_bytes for kept in towers[-1]._kept.values())
    monkeypatch.setattr(module, "_MOST_BYTES", of_one)
    found, calls = edited(one_tiny_model, two_pictures, "ft-vision", batch_size=1)
    assert sum(kept.num_bytes for kept in towers[-1]._kept.values()) == of_one > 0
    assert found == expected
    assert plain_calls / NUM_STEPS < calls < plain_calls


@pytest.mark.parametrize("family", ["qwen3_vl", "mllama"])
def test_a_model_that_reads_a_layer_unsaid_is_run_whole(
    family: str, family_copy: Callable[[str], HfModel], tiny_edits: list[Edit], towers: list[LowerTower]
) -> None:
    model, edits = family_copy(family), [edit for edit in tiny_edits if edit.image is not None]
    assert model.tapped_tower_layers == [0]
    expected, _ = plain(model, edits, "ft-projector")
    model.family = replace(model.family, tapped_vision_layers=None)
    found, _ = edited(model, edits, "ft-projector")
    assert found == expected
    assert not towers[-1]._is_used and not towers[-1]._kept


def test_what_is_changed_in_place_is_not_used_again(
    one_tiny_model: HfModel, tiny_edits: list[Edit], towers: list[LowerTower]
) -> None:
    """A tower may add to what a layer put out."""
    edits = [edit for edit in tiny_edits if edit.image is not None]
    handle = one_tiny_model.tower_layers[0].register_forward_hook(lambda _, __, output: output.add_(1))
    expected, plain_calls = plain(one_tiny_model, edits, "ft-vision")
    found, calls = edited(one_tiny_model, edits, "ft-vision")
    handle.remove()
    assert found == expected
    assert calls >= plain_calls


def test_layers_that_return_more_than_hidden_states_are_run_whole(
    one_tiny_model: HfModel, tiny_edits: list[Edit], towers: list[LowerTower]
) -> None:
    """Some of them below the one whose output would be kept."""
    edits = [edit for edit in tiny_edits if edit.image is not None]
    stack = one_tiny_model.module.get_submodule(one_tiny_model.family.vision_layers or "")
    stack.extend(copy.deepcopy(stack[number]) for number in (0, 1, 0, 1, 0))
    expected, _ = plain(one_tiny_model, edits, "ft-vision")
    for layer in stack:
        own = layer.forward
        layer.forward = lambda *args, own=own, **kwargs: (own(*args, **kwargs), None)
        if layer is not stack[0]:
            layer.register_forward_pre_hook(lambda _, args: (args[0][0], *args[1:]))
    stack[-1].register_forward_hook(lambda _, __, output: output[0])
    found, _ = edited(one_tiny_model, edits, "ft-vision")
    assert found == expected
    assert len(stack) == 7 and not towers[-1]._is_used


def test_a_part_after_what_is_trained_or_that_is_trained_below_is_not_kept(
    one_tiny_model: HfModel, two_pictures: list[Edit], towers: list[LowerTower]
) -> None:
    """The attention is trained, the MLP behind it reads it; two edits with one picture, of which each takes steps."""
    same = [*two_pictures[:1], two_pictures[0].model_copy(update={"question": "what is this ring?"})]
    settings = {"modules": ["self_attn"], "batch_size": 1, "learning_rate": 0.05}
    expected, _ = plain(one_tiny_model, same, "ft-vision", **settings)
    found, _ = edited(one_tiny_model, same, "ft-vision", **settings)
    assert found == expected
    (number,) = {key.partition(":")[0] for key in towers[-1]._kept}
    assert number == "0", "the layer below alone"
