"""Square matrices as wide as a layer, kept on disk in panels and read one panel at a time.

A layer of a model of billions has some ten thousand inputs, and a square matrix over them takes gigabytes in double
precision. An edit needs what the matrix makes of a few vectors, for which a pass over the file is enough.

Axes: I inputs, N vectors, R rows or columns of a panel, F free directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import safe_open

__all__ = ["PANEL_BYTES", "cholesky_solve", "column_panels", "lower_panels", "project"]

#: What a panel takes at most, unless a single row takes more.
PANEL_BYTES = 4 << 20


def lower_panels(factor_II: torch.Tensor) -> dict[str, torch.Tensor]:
    """A lower triangular matrix as panels of whole rows, each up to the diagonal of its last row."""
    return {f"panel.{start}": factor_II[start:stop, :stop] for start, stop in _spans(factor_II)}


def column_panels(matrix_II: torch.Tensor) -> dict[str, torch.Tensor]:
    """A matrix as panels of whole columns."""
    return {f"panel.{start}": matrix_II[:, start:stop] for start, stop in _spans(matrix_II)}


def cholesky_solve(path: Path, vectors_IN: torch.Tensor) -> torch.Tensor:
    """(L L^T)^-1 V (IN), by two passes over the panels of L.

    Args:
        path: File of ``lower_panels``.
        vectors_IN: V.
    """
    solved_IN = vectors_IN.clone()
    starts = _starts(path)
    for start in starts:
        left, corner, rows = _lower(path, start, solved_IN)
        solved_IN[rows] -= left @ solved_IN[:start]
        solved_IN[rows] = torch.linalg.solve_triangular(corner, solved_IN[rows], upper=False)
    for start in reversed(starts):
        left, corner, rows = _lower(path, start, solved_IN)
        solved_IN[rows] = torch.linalg.solve_triangular(corner.mT, solved_IN[rows], upper=True)
        solved_IN[:start] -= left.mT @ solved_IN[rows]
    return solved_IN


def project(path: Path, num_columns: int, vectors_IN: torch.Tensor) -> torch.Tensor:
    """F F^T V (IN), by one pass over the panels of a matrix whose first columns are F.

    Args:
        path: File of ``column_panels``.
        num_columns: How many columns F has.
        vectors_IN: V.
    """
    projected_IN = torch.zeros_like(vectors_IN)
    for start in _starts(path):
        if start >= num_columns:
            break
        panel_IR = _read(path, start, vectors_IN)[:, : num_columns - start]
        projected_IN += panel_IR @ (panel_IR.mT @ vectors_IN)
    return projected_IN


def _lower(path: Path, start: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """A panel of a lower triangular matrix: what is left of its corner on the diagonal, the corner, and its rows."""
    panel = _read(path, start, like)
    return panel[:, :start], panel[:, start:], slice(start, start + len(panel))


def _read(path: Path, start: int, like: torch.Tensor) -> torch.Tensor:
    # Opened for each panel: what a file that stays open has brought into memory stays there.
    with safe_open(path, framework="pt") as file:
        panel: torch.Tensor = file.get_tensor(f"panel.{start}")
        return panel.to(like)


def _starts(path: Path) -> Sequence[int]:
    with safe_open(path, framework="pt") as file:
        return sorted(int(name.removeprefix("panel.")) for name in file.keys() if name.startswith("panel."))  # noqa: SIM118


def _spans(matrix_II: torch.Tensor) -> Iterator[tuple[int, int]]:
    size = len(matrix_II)
    step = max(1, PANEL_BYTES // (size * matrix_II.element_size()))
    return ((start, min(start + step, size)) for start in range(0, size, step))
