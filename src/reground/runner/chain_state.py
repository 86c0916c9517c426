"""States of a chain of edits on disk, from which an interrupted run goes on without making every edit again.

They lie beside the journal and are no part of the results: each is written whole under its final name or not at all,
the newest few are kept, and a chain that ended leaves none.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from reground.methods.chain import EditChain

__all__ = ["STATES_FOLDER", "ChainState", "ChainStates"]

STATES_FOLDER = "states"
_NUM_KEPT = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChainState:
    """One state: where it is, and after how many steps of the chain it was written."""

    folder: Path
    num_steps: int


class ChainStates:
    """The states of one chain.

    Args:
        run_folder: The run directory.
        method: The chain's method.
        order: The chain's order of edits.
    """

    def __init__(self, run_folder: Path, method: str, order: int) -> None:
        self._folder = run_folder / STATES_FOLDER / f"{method}-{order}"

    def write(self, chain: EditChain, num_steps: int) -> None:
        """Keep the state after so many steps; where it cannot be written, the log says so and the run goes on."""
        place = self._folder / str(num_steps)
        unfinished = self._folder / f".{num_steps}.tmp"
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            chain.save(unfinished)
            shutil.rmtree(place, ignore_errors=True)
            unfinished.rename(place)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            _log.warning("%s cannot be written (%s): a resumed run would make its edits again.", place, error)
            return
        for state in self._all()[:-_NUM_KEPT]:
            shutil.rmtree(state.folder, ignore_errors=True)

    def usable(self, num_steps: int) -> list[ChainState]:
        """The states that are no later than so many steps, the latest first."""
        return [state for state in reversed(self._all()) if state.num_steps <= num_steps]

    def clear(self) -> None:
        """Remove every state of the chain."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # other chains may have theirs beside it
            self._folder.parent.rmdir()

    def _all(self) -> list[ChainState]:
        if not self._folder.is_dir():
            return []
        found = [ChainState(path, int(path.name)) for path in self._folder.iterdir() if path.name.isdecimal()]
        return sorted(found, key=lambda state: state.num_steps)
