"""MLPs computed some tokens at a time: the same outputs and gradients, and never their whole inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.methods import recomputing, row_pieces
from reground.methods.chain_target import edit_query
from reground.methods.pieces import in_pieces
from reground.methods.registry import create_editor
from reground.models.hf import tiles
from reground.models.hf.adapter import HfModel
from reground.models.hf.tiles import in_tiles


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tokens of the network below in each tile."""
    monkeypatch.setattr(tiles, "_TILE_BYTES", 4 * 4 * 2 * (3 + 11))


class Gated(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.up, self.gate = torch.nn.Linear(3, 11), torch.nn.Identity()
        self.down = torch.nn.Linear(11, 3)
        self.most_tokens = 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        inner = self.gate(self.up(hidden))
        self.most_tokens = max(self.most_tokens, inner[..., 0].numel())
        output: torch.Tensor = self.down(inner * inner.sigmoid())
        return output


HIDDEN = torch.linspace(-2, 2, 2 * 7 * 3).view(2, 7, 3)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("hidden", [HIDDEN, HIDDEN.flatten(0, 1)])
def test_outputs_and_gradients_are_the_same(hidden: torch.Tensor) -> None:
    mlp = Gated()
    found = []
    for chosen in ([], [mlp]):
        mlp.most_tokens = 0
        mlp.zero_grad()
        inputs = hidden.clone().requires_grad_(True)
        with in_tiles(chosen):
            output = mlp(inputs)
            output.square().sum().backward()
            with torch.no_grad():
                torch.testing.assert_close(mlp(hidden), output)
        assert mlp.most_tokens == (4 if chosen else 14)
        found.append([output, inputs.grad, *(parameter.grad.clone() for parameter in mlp.parameters())])  # type: ignore[union-attr]
    torch.testing.assert_close(found[1], found[0])
    assert "forward" not in vars(mlp)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("needs_gradients", [False, True])
def test_a_hooked_last_part_is_called_once_with_all_tokens(needs_gradients: bool) -> None:
    mlp = Gated()
    inputs = HIDDEN.clone().requires_grad_(needs_gradients)
    mlp.requires_grad_(needs_gradients)
    seen = []

    def record(_: torch.nn.Module, received: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        seen.append(received[0].shape)
        return output + 1

    expected = mlp(inputs) + 1
    mlp.most_tokens = 0
    with mlp.down.register_forward_hook(record), in_tiles([mlp]):
        output = mlp(inputs)
        torch.testing.assert_close(output, expected)
        if needs_gradients:
            gradients = [torch.autograd.grad(each.sum(), mlp.up.weight)[0] for each in (output, expected)]
            torch.testing.assert_close(*gradients)
    assert seen == [torch.Size([2, 7, 11])]
    assert mlp.most_tokens == 4
    assert isinstance(mlp.down, torch.nn.Linear)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("part", ["up", "gate"])
def test_with_another_part_hooked_it_is_not_cut(part: str) -> None:
    mlp = Gated()
    shapes = []
    with mlp.get_submodule(part).register_forward_hook(lambda *call: shapes.append(call[2].shape)), in_tiles([mlp]):
        output = mlp(HIDDEN)
    torch.testing.assert_close(output, mlp(HIDDEN))
    assert shapes[-1] == torch.Size([2, 7, 11])
    assert isinstance(mlp.down, torch.nn.Linear)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("change", [lambda output: (output, None), lambda output: output.sum(-2)])
def test_what_is_no_row_for_each_token_is_left_whole(change: Callable[[torch.Tensor], object]) -> None:
    class Odd(Gated):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return change(super().forward(hidden))  # type: ignore[return-value]

    mlp = Odd()
    with in_tiles([mlp]):
        found = mlp(HIDDEN)
    torch.testing.assert_close(found, mlp(HIDDEN))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("num_weights", "num_tokens"), [(66, 4), (10_000, 14)])
def test_trained_in_pieces_it_keeps_no_inside_either(
    num_weights: int, num_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own weights nor what comes in ask for gradients then; with few tokens it is one tile."""
    monkeypatch.setattr(tiles, "_size", lambda _: (2 * (3 + 11), num_weights))
    monkeypatch.setattr(tiles, "_TILE_SHARE", 0)
    monkeypatch.setattr(row_pieces, "_FEWEST_BYTES", 1)
    monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 4 * 3 * 4)
    mlp = Gated().requires_grad_(False)
    gradients, kept = [], []
    for chosen in ([], [mlp]):
        mlp.most_tokens = 0
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with in_tiles(chosen), in_pieces(mlp, {"up.weight": mlp.up.get_parameter("weight")}) as pieces:
            for piece in pieces.values():
                piece.requires_grad_(True)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = mlp(HIDDEN).square().sum()
            loss.backward()
            gradients.append(torch.cat([piece.grad for piece in pieces.values() if piece.grad is not None]))
        kept.append(sum(sizes))
    torch.testing.assert_close(*gradients)
    assert kept[1] < kept[0] / 2
    assert mlp.most_tokens == num_tokens


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_weights_in_8_bit_integers_are_not_cut(dtype: torch.dtype) -> None:
    mlp = Gated().requires_grad_(False)
    mlp.up.weight.data = mlp.up.weight.data.to(dtype)
    width, num_weights = tiles._size(mlp)
    assert (width == num_weights == 0) == (dtype == torch.int8)
    assert (tiles._tile_tokens(mlp, width, num_weights, torch.ones(1, 1 << 20, 3)) is None) == (dtype == torch.int8)


@pytest.mark.usefixtures("small_tiles")
def test_of_large_weights_a_tile_is_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = Gated()
    monkeypatch.setattr(tiles, "_TILE_SHARE", 5 * 2 * (3 + 11) / (2 * 3 * 11))
    with in_tiles([mlp]):
        mlp(HIDDEN)
    assert mlp.most_tokens == 5


def test_few_tokens_are_one_tile() -> None:
    mlp = Gated()
    with in_tiles([mlp]):
        assert torch.equal(mlp(HIDDEN), mlp(HIDDEN))
    assert mlp.most_tokens == 14


@pytest.mark.parametrize(
    "method", ["ft", "ft-vision", "lora", "grace", "wise", "rome", "memit", "ft mlp", "ft mlp.up_proj"]
)
def test_an_edit_in_tiles_is_the_same(
    method: str, tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within layers that are computed a second time, as they come together."""
    settings: dict[str, Any] = {"num_steps": 2}
    if method in ("rome", "memit"):
        settings |= {"corpus": "phantom-med", "num_texts": 4}
    elif " " in method:  # through what is trained in pieces, and tiles of what is above it
        settings |= {"layers": [0], "modules": method.split()[1:]}
        monkeypatch.setattr(row_pieces, "_FEWEST_BYTES", 1)
        monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 1024)
    query, target = edit_query(tiny_edits[0]), tiny_edits[0].new_answer.text
    scores = []
    tiled = 0
    by_tiles = tiles._by_tiles

    def counted(*args: object) -> torch.Tensor | None:
        nonlocal tiled
        tiled += 1
        return by_tiles(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(tiles, "_by_tiles", counted)
    for most in (tiles._TILE_BYTES, 2048):
        monkeypatch.setattr(tiles, "_TILE_BYTES", most)
        monkeypatch.setattr(recomputing, "_MOST_BYTES", most)
        tiny_model.invalidate_images()
        with create_editor(method.split()[0], settings).apply(tiny_model, tiny_edits[:1]) as edited:
            scores.append(edited.score([query], [target])[0].log_prob)
        assert (tiled > 0) == (most == 2048 or method == "ft mlp.up_proj")
    assert scores[1] == pytest.approx(scores[0], rel=0.05)  # Adam's first steps make much of rounding


def test_features_do_not_depend_on_what_they_are_made_for(
    tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same whether an answer or an edit asked for them first: they are kept for both."""
    monkeypatch.setattr(tiles, "_TILE_BYTES", 2048)
    query = edit_query(tiny_edits[0])
    kept = []
    for mlps in ([], tiny_model.mlps):
        tiny_model.invalidate_images()
        with in_tiles(mlps):
            kept.append(tiny_model.prompt_batch([query])["inputs_embeds"])
    assert torch.equal(*kept)


def test_a_model_whose_parts_go_by_other_names_answers_and_is_edited(
    one_tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    """As of a LLaVA with a tower of another kind: there is nothing to cut, and no more to it."""
    query = edit_query(tiny_edits[0])
    expected = one_tiny_model.score([query], ["yes"])
    family = replace(one_tiny_model.family, vision_layers="model.nowhere.layers", mlp="nowhere")
    one_tiny_model.family = family
    one_tiny_model.invalidate_images()
    assert one_tiny_model.score([query], ["yes"]) == expected
    assert one_tiny_model.tower_layers == [] == one_tiny_model.mlps
    for method in ("lora", "ft-projector"):
        with create_editor(method, {"num_steps": 1}).apply(one_tiny_model, tiny_edits[:1]) as edited:
            assert edited.score([query], ["yes"]) != expected
