"""Settings of null-space constrained editing."""

from __future__ import annotations

from pydantic import Field

from reground.methods.closed_form.config import BatchConfig

__all__ = ["AlphaEditConfig"]


class AlphaEditConfig(BatchConfig):
    """The settings all batch editors share, and what counts as free.

    Attributes:
        threshold: A direction of keys is free to be written along if the corpus's keys are no stronger there than this
            share of their strength along the strongest one (mean squares).
        ridge: Weight of the size of the update (of I in the paper), as a multiple of the mean squared length of the
            corpus's keys.
    """

    threshold: float = Field(default=0.01, gt=0, lt=1)
    ridge: float = Field(default=0.01, gt=0)
