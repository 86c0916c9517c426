"""Every error a user can meet.

    RegroundError
    ├── InputError            a file, record or argument the user gave does not fit
    │   ├── RecordError       one record of a file: carries file, line and field
    │   ├── ImageError        an image is missing or cannot be read
    │   ├── RecipeError       a recipe or an override of it
    │   └── UnknownNameError  a name that no registry holds; suggests the nearest
    ├── CapabilityError       a method needs what a model does not offer
    ├── RunDirectoryError     a run directory that cannot be started in, resumed or read
    ├── ModelError            weights that cannot be loaded or are not finite
    ├── ArtifactError         what a trained method learned is missing, damaged, or was learned for another model
    ├── WorkerError           processes that do the steps of a run cannot be had, or are lost again and again
    ├── EndpointError         a remote endpoint that cannot be reached or sends no usable reply
    └── MissingExtraError     an optional dependency is not installed; prints the install command

Each message has three parts: what was tried and with which value, what would have been accepted, and what to do
next. The command line prints the message alone and exits with code 2.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "CapabilityError",
    "EndpointError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "RecipeError",
    "RecordError",
    "RegroundError",
    "RunDirectoryError",
    "UnknownNameError",
    "WorkerError",
    "nearest",
    "printable",
]

_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")

#: They change the order in which the rest of a line is shown, so that it reads otherwise than it is.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was most likely meant to be, whatever its case; None if none is close."""
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), sorted(by_folded), n=1, cutoff=0.5)
    return by_folded[near[0]] if near else None


def printable(text: str) -> str:
    """``text`` for a person's terminal: what would steer the terminal is written out, line ends and tabs are kept.

    Models and data files are not trusted to print: an escape sequence in them could recolour, retitle or overwrite
    what is on the screen.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t") or character in _REORDERING
        else character
        for character in text
    )


class RegroundError(Exception):
    """A mistake the user can put right.

    Args:
        tried: What was attempted, with the offending value.
        accepted: What would have been accepted.
        next_step: What to do now.
    """

    def __init__(self, tried: str, accepted: str, next_step: str) -> None:
        super().__init__(tried, accepted, next_step)
        self.tried = tried
        self.accepted = accepted
        self.next_step = next_step

    def __str__(self) -> str:
        tried, accepted, next_step = (
            printable(_LINE_ENDS.sub(" ", part)) for part in (self.tried, self.accepted, self.next_step)
        )
        return f"{tried}\n  Accepted: {accepted}\n  Next: {next_step}"


class InputError(RegroundError):
    """A file, record or argument does not fit."""


class RecordError(InputError):
    """One record of a file does not fit; ``tried`` names file, line and field.

    Args:
        tried, accepted, next_step: As for every error.
        file, line, field: Where the defect is; None where it is not in one line or not in one field.
        kind: What a check of the file counts it under.
    """

    def __init__(
        self,
        tried: str,
        accepted: str,
        next_step: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        kind: str = "unsound_record",
    ) -> None:
        super().__init__(tried, accepted, next_step)
        self.file = file
        self.line = line
        self.field = field
        self.kind = kind


class ImageError(InputError):
    """An image is missing or cannot be read."""


class RecipeError(InputError):
    """A recipe, or an override of it, does not fit."""


class UnknownNameError(InputError):
    """A name that no registry holds.

    Args:
        noun: What it names, e.g. ``method``.
        name: The name.
        known: The names there are.
        listed_by: What follows ``reground`` to see them all; the noun's plural and ``list`` by default.
    """

    def __init__(self, noun: str, name: str, known: Iterable[str], *, listed_by: str | None = None) -> None:
        names = sorted(known)
        near = nearest(name, names)
        hint = f"did you mean {near!r}?" if near else f"run `reground {listed_by or f'{noun}s list'}` to see them all."
        super().__init__(f"unknown {noun} {name!r}.", ", ".join(names) or "(none registered)", hint)


class CapabilityError(RegroundError):
    """A method needs what a model does not offer."""


class RunDirectoryError(RegroundError):
    """A run directory cannot be started in, resumed or read."""


class ModelError(RegroundError):
    """Weights cannot be loaded, or are not finite."""


class ArtifactError(RegroundError):
    """What a trained method learned is missing, damaged, or was learned for another model."""


class WorkerError(RegroundError):
    """The processes that do the steps of a run cannot be had, or are lost again and again."""


class EndpointError(RegroundError):
    """A remote endpoint cannot be reached, or its reply is not what was asked for."""


class MissingExtraError(RegroundError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.",
            f"an environment with the extra '{extra}'",
            f"pip install 'reground[{extra}]'",
        )
