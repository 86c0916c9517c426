"""From measured values to the 8-bit greys of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Numbers", "as_bytes", "stretched"]

#: Values of any real type and shape.
Numbers = npt.NDArray[Any]


def stretched(values: Numbers, counted: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
    """Values as shares of the way from the smallest to the largest of them.

    Args:
        values: Any shape.
        counted: True where a value may set the ends; None: everywhere. Others are cut off at the ends.

    Returns:
        The same shape, in [0, 1]; all 0 if the values do not differ.

    Raises:
        ValueError: A value that counts is NaN or infinite.
    """
    numbers = values.astype(np.float64)
    ends = numbers if counted is None or not counted.any() else numbers[counted]
    low, high = float(ends.min()), float(ends.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds pixels that are not numbers")
    if high == low:
        return np.zeros_like(numbers)
    return np.nan_to_num(np.clip((numbers - low) / (high - low), 0, 1))


def as_bytes(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Shares in [0, 1] as the nearest of 256 levels; what lies outside is cut off at the ends."""
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
