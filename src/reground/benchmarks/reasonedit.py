"""The ReasonEdit suite on the built-in clinic: does an edit reach the chain, however it is asked for?

See ``docs/reasonedit.md`` for splits, levels and controls. ``reasonedit_edits`` writes the edits and
``reasonedit_probes`` what is asked about them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from reground.benchmarks.base import Card
from reground.benchmarks.counted import Counted, counted
from reground.benchmarks.phantom import PhantomBenchmark
from reground.benchmarks.reasonedit_edits import SPLITS, Case, cases_of
from reground.benchmarks.reasonedit_probes import probes_of
from reground.benchmarks.sampling import in_turns
from reground.edits.records import Edit, ImageRef, Probe, Record
from reground.errors import InputError, nearest

__all__ = ["ReasonEditBenchmark"]


class ReasonEditBenchmark:
    """Edits of subjects held out from every training of an editor, with probes at every level and controls."""

    def card(self) -> Card:
        """Counts by split; the checksum covers every edit, companion and probe of all splits."""
        return Card(
            name="reasonedit",
            version="1",
            summary="ReasonEdit suite on the built-in clinic: all levels, hops with the edit at every place, controls.",
            source="Reground, rendered from addresses; far images from easy-VQA (Zhou, 2019, MIT licence)",
            licence="Apache-2.0",
            splits=SPLITS,
            known_defects=(
                "Names are invented and images are drawn: a method's rank here need not be its rank on clinical "
                "images.",
                "The subjects of `test` are known to the built-in models as facts, as a conflict needs; they are held "
                "out from every note, editor and threshold. Only `unseen` is in no training at all.",
                "Facts of one relation share few values (3 MRI statuses, 4 urgencies), so a guess is sometimes right.",
                "Visual subjects and those of late facts (drug class to sample, country to river) are edited twice, to "
                "different values: edits of one subject are not independent.",
                "Late facts have few held-out subjects (4 capitals, 4 tests): hops that end an edit there repeat them.",
                "A name has one spelling; only plurals and a spelling of one department are aliases.",
            ),
            **counted("reasonedit").model_dump(),
        )

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        """The edits of a split; a sample takes every kind of edit in turn.

        Raises:
            InputError: No such split.
        """
        if split not in self._cases:
            near = nearest(split, SPLITS)
            raise InputError(
                f"benchmark 'reasonedit' was asked for the split {split!r}.",
                ", ".join(SPLITS),
                f"did you mean {near!r}?" if near else "name one of these as the benchmark's split.",
            )
        return in_turns([case.edit for case in self._cases[split]], limit, seed)

    def probes(self, edit: Edit) -> Sequence[Probe]:
        """Every probe of an edit, in-scope probes first.

        Raises:
            InputError: The edit is none of the suite's.
        """
        return tuple(probes_of(self._case(edit)))

    def companions(self, edit: Edit) -> Sequence[Edit]:
        """Edits that are put in force before ``edit``, in the same step.

        Raises:
            InputError: The edit is none of the suite's.
        """
        return self._case(edit).companions

    def shown(self, image: ImageRef) -> frozenset[str]:
        """The findings and devices an image shows."""
        return PhantomBenchmark().shown(image)

    def count(self) -> Counted:
        """What is there, edit by edit and probe by probe."""
        counts: Counter[str] = Counter()
        levels: dict[str, None] = {}
        digest = hashlib.sha256()
        for split, cases in self._cases.items():
            counts[f"subjects.{split}"] = len({case.edit.subject for case in cases})
            for case in cases:
                counts[f"edits.{split}"] += 1
                counts[f"edits.{split}.{case.edit.modality}.{case.edit.relation}"] += 1
                probes = tuple(probes_of(case))
                levels |= dict.fromkeys(probe.level for probe in probes)
                counts.update(_probe_counts(split, probes))
                for record in _records(case, probes):
                    digest.update(record.model_dump_json().encode())
        return Counted(checksum=digest.hexdigest(), counts=dict(counts), levels=tuple(levels))

    def _case(self, edit: Edit) -> Case:
        if edit.id not in self._case_of:
            raise InputError(
                f"benchmark 'reasonedit' was asked about the edit {edit.id}, which is not in it.",
                "an edit that its method edits() gives",
                "take the edit from the benchmark; an edit's id changes with its content.",
            )
        return self._case_of[edit.id]

    @cached_property
    def _cases(self) -> dict[str, tuple[Case, ...]]:
        return {split: tuple(cases_of(split)) for split in SPLITS}

    @cached_property
    def _case_of(self) -> dict[str, Case]:
        return {case.edit.id: case for cases in self._cases.values() for case in cases}


def _probe_counts(split: str, probes: Sequence[Probe]) -> Iterator[str]:
    for probe in probes:
        yield f"probes.{split}"
        yield f"probes.{split}.{probe.kind}" + (f".{probe.distance}" if probe.distance else "")
        if probe.kind == "portability" or probe.level == "unsanctioned_claim":
            yield f"probes.{split}.{probe.level}"


def _records(case: Case, probes: Sequence[Probe]) -> Iterator[Record]:
    yield case.edit
    yield from case.companions
    yield from probes
