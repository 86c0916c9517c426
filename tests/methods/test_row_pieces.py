"""Weights trained in pieces: the same steps, and no whole gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reground.methods import row_pieces
from reground.methods.pieces import in_pieces
from reground.methods.row_pieces import linear_of, linears_of
from reground.methods.row_pieces import row_pieces as pieces_of
from reground.methods.training_step import TrainingReport, descend


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_pieces, "_FEWEST_BYTES", 1)
    monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 3 * 5 * 4)


def network() -> torch.nn.Sequential:
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 5), torch.nn.LayerNorm(5))


def trained(module: torch.nn.Module, *, is_lean: bool) -> TrainingReport:
    inputs, wanted = torch.linspace(-1, 1, 15).view(3, 5), torch.linspace(0, 1, 15).view(3, 5)
    parameters = dict(module.named_parameters())
    settings = {"learning_rate": 0.01, "num_steps": 20, "loss_floor": 1e-6, "weight_decay": 0.1}
    with in_pieces(module, parameters if is_lean else {}) as pieces:
        assert ("0.weight[2]" in pieces) == is_lean
        assert ("3.weight" in pieces) == is_lean, "a norm has no rows"
        return descend(
            pieces or parameters, [lambda: functional.mse_loss(module(inputs), wanted)], is_lean=is_lean, **settings
        )


@pytest.mark.usefixtures("small_pieces")
def test_a_weight_in_pieces_takes_the_same_steps() -> None:
    whole, pieced = network(), network()
    expected = trained(whole, is_lean=False)
    report = trained(pieced, is_lean=True)
    assert report.num_steps == expected.num_steps == 20
    assert report.last_loss == pytest.approx(expected.last_loss, rel=1e-4)
    for mine, one in zip(pieced.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, one, rtol=1e-4, atol=1e-6)
        assert mine.grad is None
        assert mine.requires_grad == one.requires_grad
    inputs = torch.ones(2, 5)
    torch.testing.assert_close(pieced(inputs), whole(inputs))
    assert "forward" not in vars(pieced[0])


@pytest.mark.usefixtures("small_pieces")
def test_no_gradient_is_larger_than_a_piece() -> None:
    module = network()
    largest = 0

    def seen(parameter: torch.Tensor) -> None:
        nonlocal largest
        alive = sum(p.grad.numel() for p in pieces.values() if p.grad is not None)
        largest = max(largest, alive)

    with in_pieces(module, {"0.weight": module[0].weight}) as pieces:
        handles = [piece.requires_grad_().register_post_accumulate_grad_hook(seen) for piece in pieces.values()]
        descend(
            pieces,
            [lambda: module(torch.ones(1, 5)).square().sum()],
            learning_rate=0.01,
            num_steps=2,
            loss_floor=0.0,
            is_lean=True,
        )
    assert len(handles) == 3
    assert 0 < largest <= 3 * 5


@pytest.mark.usefixtures("small_pieces")
def test_an_error_leaves_the_layer_as_it_was() -> None:
    module = network()
    with pytest.raises(RuntimeError, match="stop"), in_pieces(module, {"0.weight": module[0].weight}):
        raise RuntimeError("stop")
    assert "forward" not in vars(module[0])


def test_a_small_weight_is_one_piece() -> None:
    module = network()
    with in_pieces(module, {"0.weight": module[0].weight}) as pieces:
        assert list(pieces) == ["0.weight"]
        assert pieces["0.weight"] is module[0].weight
    weight_OI, bias_O = module[0].weight.detach(), module[0].bias.detach()
    inputs = torch.ones(2, 5)
    expected = functional.linear(inputs, weight_OI, bias_O)
    torch.testing.assert_close(linear_of(inputs, torch.split(weight_OI, 2), bias_O), expected)


@pytest.mark.usefixtures("small_pieces")
def test_a_piece_has_its_whole_gradient_before_the_next_has_any() -> None:
    """Of several inputs, each of which goes another way to the loss."""
    torch.manual_seed(1)
    weight, bias, inputs = torch.randn(7, 5), torch.randn(7), [torch.randn(3, 5), torch.randn(2, 4, 5)]
    pieces = pieces_of(weight)
    assert len(pieces) == 3
    order = []
    for number, piece in enumerate(pieces):
        piece.requires_grad_(True)
        piece.register_hook(lambda _, number=number: order.append(("whole", number)))
        piece.register_post_accumulate_grad_hook(lambda _, number=number: order.append(("stepped", number)))
    outputs = linears_of(inputs, pieces, bias)
    loss = outputs[0].tanh().sum() + outputs[1].square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert order == [(what, number) for number in (2, 1, 0) for what in ("whole", "stepped")]
    whole = weight.clone().requires_grad_(True)
    expected = [functional.linear(each, whole, bias) for each in inputs]
    torch.testing.assert_close(outputs, expected)
    (expected[0].tanh().sum() + expected[1].square().mean()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(torch.cat([piece.grad for piece in pieces if piece.grad is not None]), whole.grad)
