"""The benchmark seam: a card that says what the data are, and the edits and probes themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from reground.edits.records import Edit, ImageRef, Probe, Record

__all__ = [
    "Benchmark",
    "Card",
    "HasCompanions",
    "KeepsApart",
    "NeedsImages",
    "ShowsSubjects",
    "TagsEdits",
    "WritesChains",
]


class Card(Record):
    """What a benchmark is and where it comes from.

    Attributes:
        name: Name shown in results.
        version: Version of the data; corrected data are a new version.
        summary: One line for a person.
        source: Who made the data and where they are published.
        licence: Under which terms.
        checksum: SHA-256 over the content; two runs are on the same data if and only if it is equal.
        splits: Names of the splits, the one to be scored on first.
        counts: Number of edits and of probes, and whatever else is worth counting, e.g. ``edits.test``.
        levels: Probe levels that occur.
        known_defects: What is known to be wrong with the data, in sentences.
        supersedes: The version this one corrects, if any.
    """

    name: str
    version: str
    summary: str = ""
    source: str
    licence: str
    checksum: str
    splits: tuple[str, ...]
    counts: dict[str, int]
    levels: tuple[str, ...] = ()
    known_defects: tuple[str, ...] = ()
    supersedes: str | None = None


@runtime_checkable
class Benchmark(Protocol):
    """Edits and what to ask about them. The same arguments give the same records on every machine."""

    def card(self) -> Card: ...

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        """The edits of a split, or a sample of ``limit`` of them that depends on ``seed`` alone.

        Raises:
            InputError: No such split.
        """
        ...

    def probes(self, edit: Edit) -> Sequence[Probe]:
        """What is asked about one edit, in a fixed order, locality probes included."""
        ...


@runtime_checkable
class ShowsSubjects(Protocol):
    """A benchmark that knows what its images show, so that a subject can be kept out of a training altogether."""

    def shown(self, image: ImageRef) -> frozenset[str]:
        """The subjects an image shows, as edits name them."""
        ...


@runtime_checkable
class TagsEdits(Protocol):
    """A benchmark that sorts its edits; scores are then given for each sort, beside the strata."""

    def tags(self, edit: Edit, model: str) -> tuple[str, ...]:
        """The tags of an edit, ``axis:value`` each and at most one an axis, e.g. ``tier:reasoning``.

        Args:
            edit: An edit of this benchmark.
            model: The model under test: how often it met a subject in training, say, depends on it.
        """
        ...


@runtime_checkable
class HasCompanions(Protocol):
    """A benchmark some of whose edits are about what earlier edits did: they overrule them or go on from them."""

    def companions(self, edit: Edit) -> Sequence[Edit]:
        """Edits that are put in force before ``edit``, in the same step and in this order; often none."""
        ...


@runtime_checkable
class KeepsApart(Protocol):
    """A benchmark that may vouch that all of its edits can be in force at once."""

    def keeps_apart(self) -> bool:
        """Whether no edit ever decides what a probe of another brings.

        A run can then do without the probes of edits that it puts in force and asks nothing about: they are read for
        nothing but to find out whose answer counts.
        """
        ...


@runtime_checkable
class NeedsImages(Protocol):
    """A benchmark whose images are published beside its records, and may not have been fetched."""

    def require_images(self, refs: Iterable[ImageRef | None]) -> None:
        """Refuse to run while image files are missing.

        Raises:
            ImageError: Says how many, names some, and where they are to be had.
        """
        ...


@runtime_checkable
class WritesChains(Protocol):
    """A benchmark that knows how an unedited model would reason, so that lookups while thinking can be calibrated."""

    def chain_sentences(self, edit: Edit) -> tuple[str, ...]:
        """Sentences an unedited chain may hold from the edit's subject on; the first states the edited fact, if it is
        a textual edit, and what is seen, if it is a visual one."""
        ...
