"""Settings of the method that does nothing: there are none."""

from __future__ import annotations

from reground.methods.base import MethodConfig

__all__ = ["NoneConfig"]


class NoneConfig(MethodConfig):
    """No settings."""
