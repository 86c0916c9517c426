"""MLPs trained in pieces of their inside: the same steps, and neither gradient nor inside in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from reground.methods import row_pieces
from reground.methods.pieces import in_pieces
from reground.methods.training_step import TrainingReport, descend
from reground.models.hf.tiles import in_tiles

HIDDEN = torch.linspace(-2, 2, 2 * 7 * 6).view(2, 7, 6)


@pytest.fixture(autouse=True)
def four_units_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_pieces, "_FEWEST_BYTES", 1)
    monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 4 * 6 * 4)


class Mlp(torch.nn.Module):
    """Six wide, eleven units inside; gated or plain."""

    def __init__(
        self, *, is_gated: bool, bias: bool = True, inside: Callable[[torch.Tensor], torch.Tensor] = functional.silu
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.gate = torch.nn.Linear(6, 11, bias=bias) if is_gated else torch.nn.Identity()
        self.up = torch.nn.Linear(6, 11, bias=bias)
        self.down = torch.nn.Linear(11, 6, bias=bias)
        self.inside = inside
        self.most_units = 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        inner = self.inside(self.up(hidden))
        if isinstance(self.gate, torch.nn.Linear):
            inner = inner * self.gate(hidden)
        self.most_units = max(self.most_units, inner.shape[-1])
        output: torch.Tensor = self.down(inner)
        return output


class Layer(torch.nn.Module):
    """An MLP whose input asks for gradients."""

    def __init__(self, mlp: Mlp) -> None:
        super().__init__()
        self.mlp = mlp
        self.norm = torch.nn.LayerNorm(6)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.mlp(self.norm(hidden))


def trained(layer: Layer, *, in_parts: bool, chosen: str = "") -> tuple[TrainingReport, set[str]]:
    parameters = {name: value for name, value in layer.named_parameters() if name.startswith(chosen)}
    layer.requires_grad_(False)
    wanted = HIDDEN.flip(1)
    with in_tiles([layer.mlp]), in_pieces(layer, parameters if in_parts else {}) as pieces:
        report = descend(
            pieces or parameters,
            [lambda: functional.mse_loss(layer(HIDDEN), wanted)],
            learning_rate=0.01,
            num_steps=8,
            loss_floor=1e-6,
            weight_decay=0.1,
            is_lean=in_parts,
        )
    return report, set(pieces)


@pytest.mark.parametrize("chosen", ["", "mlp"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("is_gated", [True, False])
def test_the_same_steps(is_gated: bool, bias: bool, chosen: str) -> None:
    whole, pieced = (Layer(Mlp(is_gated=is_gated, bias=bias)) for _ in range(2))
    expected, _ = trained(whole, in_parts=False, chosen=chosen)
    pieced.mlp.most_units = 0
    report, names = trained(pieced, in_parts=True, chosen=chosen)
    assert {"mlp.up.weight[2]", "mlp.down.weight[2]"} <= names
    assert ("mlp.gate.weight[2]" in names) == is_gated
    assert ("mlp.up.bias" in names) == bias
    assert report.last_loss == pytest.approx(expected.last_loss, rel=1e-4)
    assert report.last_loss < report.first_loss
    for mine, one in zip(pieced.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, one, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pieced(HIDDEN), whole(HIDDEN), rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(pieced.mlp) and "forward" not in vars(pieced.mlp.up)


def test_neither_gradient_nor_inside_is_there_in_full() -> None:
    layer = Layer(Mlp(is_gated=True))
    layer.requires_grad_(False)
    weights = {name: value for name, value in layer.named_parameters() if name.startswith("mlp") and value.ndim == 2}
    most_alive = 0
    with in_pieces(layer, weights) as pieces:
        layer.mlp.most_units = 0  # finding out whether the pieces are right has run the whole

        def seen(_: torch.Tensor) -> None:
            nonlocal most_alive
            alive = sum(piece.grad.numel() for piece in pieces.values() if piece.grad is not None)
            most_alive = max(most_alive, alive)

        for piece in pieces.values():
            piece.requires_grad_().register_post_accumulate_grad_hook(seen)
        losses = [lambda: layer(HIDDEN).square().sum()]
        descend(pieces, losses, learning_rate=0.01, num_steps=2, loss_floor=0.0, is_lean=True)
    assert layer.mlp.most_units == 4
    assert 0 < most_alive <= 3 * 4 * 6


def test_in_half_precision_the_sum_is_rounded_once() -> None:
    layer = Layer(Mlp(is_gated=True)).to(torch.bfloat16)
    hidden = HIDDEN.to(torch.bfloat16)
    expected = layer.float()(hidden.float())
    layer = layer.to(torch.bfloat16)
    with in_pieces(layer, dict(layer.named_parameters())) as pieces:
        assert "mlp.down.weight[2]" not in pieces, "half as many bytes: eight units a piece"
        assert "mlp.down.weight[1]" in pieces
        found = layer(hidden)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


def test_in_half_precision_a_gradient_is_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where the MLP is run whole, however many pieces there are."""
    monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 2 * 6 * 2)
    torch.manual_seed(0)
    mlp = torch.nn.Sequential(torch.nn.Linear(6, 400), torch.nn.SiLU(), torch.nn.Linear(400, 6)).to(torch.bfloat16)
    found: dict[str, list[torch.Tensor]] = {}
    hidden, wanted = torch.randn(64, 6), torch.randn(64, 6)

    def run(name: str, dtype: torch.dtype) -> None:
        inputs = hidden.to(dtype).requires_grad_()
        output = mlp(inputs)
        (output.float() * wanted).sum().backward()
        assert inputs.grad is not None
        found[name] = [output.detach().float(), inputs.grad.float()]

    outer = torch.nn.ModuleDict({"mlp": mlp})
    with in_pieces(outer, dict(outer.named_parameters())) as pieces:
        assert len(pieces) == 2 * 200 + 2
        run("pieces", torch.bfloat16)
    run("whole", torch.bfloat16)
    mlp.float()
    run("exact", torch.float32)
    for mine, whole, exact in zip(*found.values(), strict=True):
        assert (mine - exact).norm() < 1.3 * (whole - exact).norm()


def hooked(layer: Layer) -> Layer:
    layer.mlp.down.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("made", "left_out"),
    [
        pytest.param(lambda: Layer(Mlp(is_gated=True, inside=lambda inner: inner.softmax(-1))), "", id="no sum"),
        pytest.param(lambda: Layer(Mlp(is_gated=False, inside=lambda inner: inner + inner.shape[-1])), "", id="width"),
        pytest.param(lambda: hooked(Layer(Mlp(is_gated=True))), "", id="hooked"),
        pytest.param(lambda: Layer(Mlp(is_gated=True)), "mlp.gate.weight", id="one stays"),
    ],
)
def test_what_cannot_be_cut_so_is_cut_in_rows(made: Callable[[], Layer], left_out: str) -> None:
    layer = made()
    parameters = {name: value for name, value in layer.named_parameters() if name != left_out}
    expected = layer(HIDDEN)
    with in_pieces(layer, parameters) as pieces:
        assert pieces["mlp.down.weight[0]"].shape[1] == 11
        torch.testing.assert_close(layer(HIDDEN), expected)


class Pair(torch.nn.Module):
    """Linear parts of one square shape, as an attention's, of which several things come out."""

    def __init__(self, error: type[Exception] | None) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        self.error = error

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, None]:
        inner = self.one(hidden)
        if self.error is not None and inner.shape[-1] < 6:
            raise self.error("heads of another shape")
        return self.other(inner), None


@pytest.mark.parametrize("error", [None, ValueError, AttributeError])
def test_an_attention_is_no_mlp(error: type[Exception] | None) -> None:
    outer = torch.nn.ModuleDict({"attention": Pair(error)})
    expected, _ = outer["attention"](HIDDEN)
    with in_pieces(outer, dict(outer.named_parameters())) as pieces:
        assert pieces["attention.other.weight[0]"].shape == (4, 6)
        torch.testing.assert_close(outer["attention"](HIDDEN)[0], expected)
