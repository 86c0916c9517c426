"""A sheet on which two people check a sample of paraphrases, and how far they agree."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from reground.edits.files import write_atomically
from reground.edits.records import Edit, Probe, Record
from reground.errors import RecordError

__all__ = ["ANNOTATORS", "SHEET_FILE", "Agreement", "check_sheet", "cohens_kappa", "write_sheet"]

SHEET_FILE = "sheet.csv"

#: Columns to be filled in with yes or no: does the paraphrase ask the same, and is the marked answer right for it?
ANNOTATORS = ("annotator_1", "annotator_2")

_COLUMNS = ("edit_id", "source", "image", "question", "paraphrase", "options", "answer", *ANNOTATORS, "note")
_VERDICTS = {"yes": True, "y": True, "no": False, "n": False}
#: A cell that begins so is a formula to a spreadsheet.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


class Agreement(Record):
    """How far two annotators agree.

    Attributes:
        num_rows: Rows of the sheet.
        num_checked: Rows that both filled in; the figures below are over these.
        num_accepted: Rows both said yes to.
        agreement: Share of rows with the same verdict; None if none was checked.
        kappa: Cohen's kappa; None for the ``reason`` given.
        reason: Why there is no kappa.
        rejected: Edits at least one of the two said no to.
    """

    num_rows: int
    num_checked: int
    num_accepted: int
    agreement: float | None
    kappa: float | None
    reason: str | None = None
    rejected: tuple[str, ...] = ()


def write_sheet(path: Path, edits: Sequence[Edit], probes: Sequence[Probe], *, share: float, seed: int) -> int:
    """Write a sample of the edits to be checked; the same edits, share and seed give the same sheet.

    Args:
        path: The sheet, CSV.
        edits: The edits.
        probes: Their probes.
        share: How much of them to check, in (0, 1]; rounded up.
        seed: Of the sample.

    Returns:
        How many rows it has.
    """
    paraphrase_of = {probe.edit_id: probe.question for probe in probes if probe.level == "text_rephrase"}
    positions = sorted(random.Random(f"sheet/{seed}").sample(range(len(edits)), math.ceil(share * len(edits))))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for edit in (edits[position] for position in positions):
        image = " ".join(edit.image.frames) if edit.image is not None else ""
        options = " | ".join(edit.options)
        shown = (edit.source, image, edit.question, paraphrase_of[edit.id], options, edit.new_answer.text)
        writer.writerow((edit.id, *map(_plain, shown), "", "", ""))
    write_atomically(path, text.getvalue())
    return len(positions)


def check_sheet(path: Path) -> Agreement:
    """How far the two annotators of a sheet agree.

    Raises:
        RecordError: The sheet cannot be read, lacks a column, or a verdict is neither yes nor no.
    """
    rows = _rows(path)
    pairs: list[tuple[str, bool, bool]] = []
    for line, row in rows:
        first, second = (_verdict(path, line, column, row[column]) for column in ANNOTATORS)
        if first is not None and second is not None:
            pairs.append((row["edit_id"], first, second))
    kappa, reason = cohens_kappa([(first, second) for _, first, second in pairs])
    return Agreement(
        num_rows=len(rows),
        num_checked=len(pairs),
        num_accepted=sum(first and second for _, first, second in pairs),
        agreement=sum(first == second for _, first, second in pairs) / len(pairs) if pairs else None,
        kappa=kappa,
        reason=reason,
        rejected=tuple(edit_id for edit_id, first, second in pairs if not (first and second)),
    )


def cohens_kappa(pairs: Sequence[tuple[bool, bool]]) -> tuple[float | None, str | None]:
    """Agreement beyond chance, at most 1; or None and the reason there is none.

    Source:
        Cohen, 1960, "A coefficient of agreement for nominal scales".

    Example:
        >>> cohens_kappa([(True, True), (True, False), (False, False), (False, False)])
        (0.5, None)
    """
    if not pairs:
        return None, "no row was checked by both annotators"
    n = len(pairs)
    observed = sum(first == second for first, second in pairs) / n
    yes = [sum(verdicts) / n for verdicts in zip(*pairs, strict=True)]
    expected = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    if expected == 1:
        return None, "both annotators gave one and the same verdict to every row"
    return (observed - expected) / (1 - expected), None


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _rows(path: Path) -> list[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            found: list[tuple[int, Mapping[str, str]]] = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(
            f"cannot read the sheet {str(path)!r}: {error}.",
            "the CSV file that `benchmarks build` wrote, encoded as UTF-8",
            "check the path, or save the sheet as CSV (UTF-8).",
            file=str(path),
        ) from error
    missing = [column for column in ("edit_id", *ANNOTATORS) if column not in columns]
    if missing:
        raise RecordError(
            f"the sheet {str(path)!r} has no column {missing[0]!r}.",
            ", ".join(_COLUMNS),
            "keep the columns as they were written, separated by commas.",
            file=str(path),
        )
    return found


def _verdict(path: Path, line: int, column: str, cell: str | None) -> bool | None:
    word = (cell or "").strip().casefold()
    if not word:
        return None
    if word not in _VERDICTS:
        raise RecordError(
            f"{path}, line {line}, field {column!r}: {cell!r} is no verdict.",
            "yes or no, or nothing where it was not checked",
            "correct the cell.",
            file=str(path),
            line=line,
            field=column,
        )
    return _VERDICTS[word]
