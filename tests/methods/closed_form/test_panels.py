"""Matrices in panels on disk against the same matrices in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reground.methods.closed_form import panels

pytestmark = pytest.mark.reference

NUM_INPUTS = 23


@pytest.fixture(params=[1, 5, 1000], ids=lambda rows: f"{rows} rows")
def few_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "PANEL_BYTES", request.param * NUM_INPUTS * 8)


def kept(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "matrix.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.usefixtures("few_rows")
def test_a_factor_in_panels_solves_as_a_dense_one_does(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(1)
    root_II = torch.randn(NUM_INPUTS, NUM_INPUTS, generator=random, dtype=torch.float64)
    matrix_II = root_II @ root_II.T + torch.eye(NUM_INPUTS).double()
    vectors_IN = torch.randn(NUM_INPUTS, 3, generator=random, dtype=torch.float64)
    path = kept(panels.lower_panels(torch.linalg.cholesky(matrix_II)), tmp_path)
    torch.testing.assert_close(panels.cholesky_solve(path, vectors_IN), torch.linalg.solve(matrix_II, vectors_IN))


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("num_columns", [1, 7, NUM_INPUTS])
def test_columns_in_panels_project_as_dense_ones_do(tmp_path: Path, num_columns: int) -> None:
    random = torch.Generator().manual_seed(1)
    square_II = torch.randn(NUM_INPUTS, NUM_INPUTS, generator=random, dtype=torch.float64)
    basis_II, vectors_IN = torch.linalg.qr(square_II).Q, square_II[:, :2]
    free_IF = basis_II[:, :num_columns]
    path = kept({"other": vectors_IN, **panels.column_panels(basis_II)}, tmp_path)
    torch.testing.assert_close(panels.project(path, num_columns, vectors_IN), free_IF @ free_IF.T @ vectors_IN)
