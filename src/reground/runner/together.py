"""Which edits are asked about in one call: single edits have too few probes to fill a batch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from reground.edits.records import Edit, Probe
from reground.runner.plan import Workload
from reground.runner.recipe import Recipe
from reground.runner.schedules import probed_edits

__all__ = ["ROWS_TOGETHER", "AskedTogether"]

#: Probes asked in one call, if no single edit has more: two batches of what a local model takes by default.
ROWS_TOGETHER = 128


class AskedTogether:
    """Neighbouring edits in groups of at most so many probes; the same for a run however often it is interrupted.

    Args:
        edits: In the order of the steps that ask about them.
        probes: Those of each edit, by its id.
        num_rows: Probes of a group at most, unless a single edit has more.
    """

    def __init__(
        self, edits: Sequence[Edit], probes: Mapping[str, Sequence[Probe]], num_rows: int = ROWS_TOGETHER
    ) -> None:
        self.edits = edits
        self._starts: list[int] = []
        held = num_rows + 1
        for index, edit in enumerate(edits):
            held += len(probes[edit.id])
            if held > num_rows:
                self._starts.append(index)
                held = len(probes[edit.id])

    @classmethod
    def of(cls, recipe: Recipe, workload: Workload) -> AskedTogether:
        """Of the edits of a run whose probes are put at all, as the unedited model is asked about them."""
        return cls(probed_edits(recipe.schedule, workload.edits, recipe.seed), workload.probes)

    def group(self, index: int, edit: Edit) -> range | None:
        """Positions of the edits asked about together with the one at ``index``; None if ``edit`` is not there."""
        if not (index < len(self.edits) and self.edits[index].id == edit.id):
            return None
        number = bisect_right(self._starts, index)
        stop = self._starts[number] if number < len(self._starts) else len(self.edits)
        return range(self._starts[number - 1], stop)
