"""Settings of rank-one model editing."""

from __future__ import annotations

from reground.methods.closed_form.config import ClosedFormConfig

__all__ = ["RomeConfig"]


class RomeConfig(ClosedFormConfig):
    """The settings all closed-form editors share, and the layer.

    Attributes:
        layer: Text layer that is edited (l* in the paper); negative counts from the last, which itself will not do.
            None: a sixth of the way up.
    """

    layer: int | None = None
