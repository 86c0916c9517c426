"""A weight of which a mask is trained: the pieces, their gradients and what is made of them."""

from __future__ import annotations

import pytest
import torch

from reground.methods import row_pieces
from reground.methods.training_step import descend
from reground.methods.wise.memory import Mask, MaskedChange, MaskedRows


@pytest.fixture(params=[1 << 30, 1], ids=["whole", "in pieces"])
def pieces_of_two_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pieces there are of six rows."""
    monkeypatch.setattr(row_pieces, "_FEWEST_BYTES", request.param)
    monkeypatch.setattr(row_pieces, "_PIECE_BYTES", 2 * 5 * 4)
    return 3 if request.param == 1 else 1


def masked(main: torch.Tensor) -> tuple[list[Mask], list[torch.nn.Parameter]]:
    pieces = row_pieces.rows_of(main)
    masks = [Mask.random(rows, 0.4) for rows in pieces]
    return masks, [torch.nn.Parameter(mask.of(rows)) for rows, mask in zip(pieces, masks, strict=True)]


def test_only_what_is_within_the_mask_is_trained_and_as_it_would_be(pieces_of_two_rows: int) -> None:
    torch.manual_seed(2)
    main, wanted = torch.randn(6, 5), torch.randn(6, 5)
    before = main.clone()
    masks, values = masked(main)
    rows = MaskedRows(main, masks, values, torch.float32)
    assert len(rows) == pieces_of_two_rows
    torch.testing.assert_close(torch.cat(list(rows)), main, rtol=0, atol=0)
    settings = {"learning_rate": 0.05, "num_steps": 7, "loss_floor": 0.0}
    descend(
        {str(number): value for number, value in enumerate(values)},
        [lambda: (torch.cat(list(rows)) - wanted).square().sum()],
        is_lean=True,
        **settings,  # type: ignore[arg-type]
    )
    plain = torch.nn.Parameter(main.clone())
    descend({"weight": plain}, [lambda: (plain - wanted).square().sum()], **settings)  # type: ignore[arg-type]
    change = MaskedChange.between(main, masks, values)
    mask = change.dense(main) != 0
    assert int(mask.sum()) == sum(len(value) for value in values) > 0
    side = change.added_to(main)
    assert torch.equal(main, before)
    assert torch.equal(side[~mask], main[~mask])
    torch.testing.assert_close(side[mask], plain.detach()[mask])
    assert not torch.equal(side[mask], main[mask])
    dense = change.dense(main)
    assert not dense[~mask].any()
    torch.testing.assert_close(main + dense, side, rtol=0, atol=0)


def test_a_change_keeps_its_precision_beside_a_weight_of_less(pieces_of_two_rows: int) -> None:
    torch.manual_seed(2)
    main = torch.randn(6, 5).to(torch.bfloat16)
    masks = [Mask.random(rows, 1.0) for rows in row_pieces.rows_of(main)]
    values = [rows.float().flatten() + 1e-4 for rows in row_pieces.rows_of(main)]
    change = MaskedChange.between(main, masks, values)
    dense = change.dense(main)
    assert dense.dtype == torch.float32
    torch.testing.assert_close(dense, torch.full((6, 5), 1e-4), rtol=1e-2, atol=0)
    side = change.added_to(main)
    assert side.dtype == torch.bfloat16
    assert torch.equal(side, (main.float() + dense).to(torch.bfloat16))
    assert len(list(MaskedRows(main, masks, values, torch.bfloat16))) == len(masks) >= min(pieces_of_two_rows, 2)
