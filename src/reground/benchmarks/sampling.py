"""Samples of a benchmark's edits in which every kind of edit has its part."""

from __future__ import annotations

import random
from collections.abc import Sequence

from reground.edits.records import Edit

__all__ = ["in_turns"]

#: Visual edits come first in each round and so much more often than textual ones: they are what the benchmarks on the
#: clinic are about.
_VISUAL_SHARE = 3


def in_turns(edits: Sequence[Edit], limit: int | None, seed: int) -> tuple[Edit, ...]:
    """All edits in their order, or ``limit`` of them, every kind (modality and relation) in turn.

    Args:
        edits: What to choose from.
        limit: How many; None for all.
        seed: Of the choice within each kind.
    """
    if limit is None:
        return tuple(edits)
    kinds: dict[tuple[str, str], list[Edit]] = {}
    for edit in edits:
        kinds.setdefault((edit.modality, edit.relation), []).append(edit)
    for kind, group in kinds.items():
        random.Random(f"sample/{seed}/{kind}").shuffle(group)
    chosen: list[Edit] = []
    order = sorted(kinds, key=lambda kind: kind[0] != "visual")
    rounds = [kind for kind in order for _ in range(_VISUAL_SHARE if kind[0] == "visual" else 1)]
    while len(chosen) < min(limit, len(edits)):
        for kind in rounds:
            if kinds[kind] and len(chosen) < limit:
                chosen.append(kinds[kind].pop())
    return tuple(chosen)
