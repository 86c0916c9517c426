"""Settings of mass-editing memory."""

from __future__ import annotations

from pydantic import Field

from reground.methods.closed_form.config import BatchConfig

__all__ = ["MemitConfig"]


class MemitConfig(BatchConfig):
    """The settings all batch editors share, and how much the corpus weighs.

    Attributes:
        corpus_weight: How many times the mean of k k^T over the corpus counts beside one of an edit (lambda in the
            paper).
    """

    corpus_weight: float = Field(default=100.0, gt=0)
