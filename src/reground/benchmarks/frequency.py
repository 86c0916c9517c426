"""How often a subject came up in a model's training, and the bins of a long tail made from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from reground.phantom.world import phantom_world

__all__ = ["KNOWN_SHARES", "finding_frequencies", "frequency_bins"]

#: Share of the known findings, in the world's order, whose facts a built-in model was taught: ``known_share`` in its
#: training recipe.
KNOWN_SHARES: Mapping[str, float] = {"phantom-med": 1.0, "phantom-general": 0.15}


def finding_frequencies(model: str) -> Mapping[str, float] | None:
    """For each finding, its share in [0, 1] of the training samples of a built-in model that start from a known one.

    A sample without a note draws its finding evenly from those the model was taught, so a share is either 0 or the
    same for all of them. Samples with a note start from findings of the ``train`` split only and are not counted.

    Args:
        model: Name of the model.

    Returns:
        None if it is not a built-in model: how often another one met a finding is not known.
    """
    if model not in KNOWN_SHARES:
        return None
    world = phantom_world()
    known = world.subjects("finding")
    taught = known[: max(1, round(len(known) * KNOWN_SHARES[model]))]
    return {finding: 1 / len(taught) if finding in taught else 0.0 for finding in world.findings}


def frequency_bins(frequencies: Mapping[str, float]) -> dict[str, str]:
    """The bin of each subject by how often it came up.

    ``never`` for 0. The others are ranked, equal frequencies sharing the middle of their ranks, and cut into thirds:
    ``rare``, ``middle``, ``frequent``. Where all of them are equal there is no tail, and each is ``even``.

    Example:
        >>> frequency_bins({"a": 0, "b": 1, "c": 5, "d": 90})
        {'a': 'never', 'b': 'rare', 'c': 'middle', 'd': 'frequent'}
    """
    counts = sorted(Counter(value for value in frequencies.values() if value > 0).items())
    num_seen = sum(count for _, count in counts)
    ends = accumulate(count for _, count in counts)
    middles = {value: (end - count / 2) / num_seen for (value, count), end in zip(counts, ends, strict=True)}

    def bin_of(value: float) -> str:
        if value <= 0:
            return "never"
        if len(counts) == 1:
            return "even"
        return "rare" if 3 * middles[value] < 1 else "middle" if 3 * middles[value] < 2 else "frequent"

    return {subject: bin_of(value) for subject, value in frequencies.items()}
