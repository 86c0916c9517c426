"""Which lenses there are."""

from __future__ import annotations

from reground.errors import InputError, nearest
from reground.evaluation.lenses import mmedit, mmevoke, multimedbench, multimedbench_as_released, vlkeb
from reground.evaluation.lenses.base import Lens

__all__ = ["LENSES", "lens_named"]

LENSES: dict[str, Lens] = {
    lens.name: lens
    for lens in (mmedit.LENS, vlkeb.LENS, multimedbench.LENS, multimedbench_as_released.LENS, mmevoke.LENS)
}


def lens_named(name: str) -> Lens:
    """The lens of a name.

    Raises:
        InputError: There is none; the nearest is suggested.
    """
    if name not in LENSES:
        near = nearest(name, LENSES)
        hint = f"did you mean {near!r}?" if near else "choose one of these with --lens."
        raise InputError(f"unknown lens {name!r}.", ", ".join(LENSES), hint)
    return LENSES[name]
