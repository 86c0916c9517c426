"""What an edit and a probe must keep beyond the types of their fields, or their scores would mean nothing.

A probe of a level nobody counts would be asked and then left out of every table; an edit whose new answer is its
prior one could never be grounded. Both look sound field by field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reground.edits.records import Edit, Probe
from reground.errors import nearest

__all__ = ["Misfit", "edit_misfits", "probe_misfits"]

_NEEDS_OPTIONS = ("multiple_choice", "shuffled_options")
_LEVELS = {
    "reliability": ("exact",),
    "generality": ("text_rephrase", "image_rephrase", "both", "free_text", *_NEEDS_OPTIONS),
}
_HOP = re.compile(r"hop[1-9][0-9]*(\.(first|middle|last|composed))?")
_NEEDS_IMAGE = ("image_rephrase", "both")


@dataclass(frozen=True)
class Misfit:
    """One rule that a record breaks: the field it shows in, and the three parts of a message."""

    field: str
    problem: str
    accepted: str
    next_step: str


def edit_misfits(edit: Edit) -> Iterator[Misfit]:
    """The rules an edit breaks."""
    new, prior = edit.new_answer, edit.prior_answer
    shared = _folded(new.spellings) & _folded(prior.spellings) if prior is not None else set()
    if shared:
        yield Misfit(
            "new_answer",
            f"{sorted(shared)[0]!r} is a spelling of the new answer and of the prior one",
            "an answer that changes, with no spelling in common",
            "correct the answers, or leave the prior answer out if it is not known.",
        )
    yield from _repeated_options(edit.options)


def probe_misfits(probe: Probe) -> Iterator[Misfit]:
    """The rules a probe breaks."""
    levels = _LEVELS.get(probe.kind)
    if levels is not None and probe.level not in levels:
        near = nearest(probe.level, levels)
        hint = f"did you mean {near!r}?" if near else "correct the level or the kind."
        yield Misfit("level", f"{probe.kind} has no level {probe.level!r}", ", ".join(levels), hint)
    if probe.kind == "portability" and not _HOP.fullmatch(probe.level):
        yield Misfit(
            "level",
            f"portability has no level {probe.level!r}",
            "hop1, hop2, ...: how many facts a chain passes besides the edited one; then, if wanted, .first, .middle, "
            ".last (where among them the edited fact stands) or .composed (several edits have to be chained)",
            "correct the level or the kind.",
        )
    if probe.kind == "portability" and not probe.intermediates:
        yield Misfit(
            "intermediates",
            "a portability probe names no intermediate entity",
            "the entities a correct chain passes through, the edit's new answer first",
            "add them; without them nobody can tell whether the chain took the way it should.",
        )
    if probe.image is None and (probe.kind == "image_locality" or probe.level in _NEEDS_IMAGE):
        what = "image_locality" if probe.kind == "image_locality" else probe.level
        yield Misfit(
            "image", f"a probe of {what} carries no image", "the image it asks about", "add it, or correct the kind."
        )
    if probe.kind == "generality" and probe.level in _NEEDS_OPTIONS and not probe.options:
        yield Misfit(
            "options",
            f"a probe of {probe.level} has no options",
            "two options or more",
            "add them, or correct the level.",
        )
    yield from _repeated_options(probe.options)


def _repeated_options(options: Sequence[str]) -> Iterator[Misfit]:
    if len(_folded(options)) < len(options):
        yield Misfit("options", "an option is given twice", "each option once", "remove one of the two.")


def _folded(texts: Sequence[str]) -> set[str]:
    return {" ".join(text.casefold().split()) for text in texts}
