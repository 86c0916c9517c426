"""Two people's verdicts, and how far they agree."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reground.benchmarks.builders.sheet import check_sheet, cohens_kappa, write_sheet
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe
from reground.errors import RecordError


def make_pair(number: int) -> tuple[Edit, Probe]:
    edit = Edit(
        subject=f"s{number}",
        relation="understanding",
        modality="visual",
        question=f"=which {number}?",
        image=ImageRef(frames=("a.png", "b.png")),
        new_answer=Answer(text="x"),
        statement="x.",
        options=("x", "y"),
    )
    expectation = Expectation(kind="answer", answer=edit.new_answer)
    probe = Probe(
        edit_id=edit.id,
        kind="generality",
        level="text_rephrase",
        question="so?",
        image=edit.image,
        expectation=expectation,
    )
    return edit, probe


def filled(path: Path, *verdicts: tuple[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["edit_id", "annotator_1", "annotator_2"])
        writer.writerows([f"e{number}", *pair] for number, pair in enumerate(verdicts))
    return path


def test_a_fifth_is_drawn_and_repeats(tmp_path: Path) -> None:
    edits, probes = zip(*(make_pair(number) for number in range(11)), strict=True)
    assert write_sheet(tmp_path / "a.csv", edits, probes, share=0.2, seed=3) == 3
    write_sheet(tmp_path / "b.csv", edits, probes, share=0.2, seed=3)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["edit_id"] for row in rows} <= {edit.id for edit in edits}
    assert (rows[0]["options"], rows[0]["image"], rows[0]["paraphrase"]) == ("x | y", "a.png b.png", "so?")
    assert rows[0]["question"].startswith("'=which"), "a spreadsheet would run it"


def test_agreement_by_hand(tmp_path: Path) -> None:
    """Five rows checked by both: yes-yes 3, yes-no 1, no-no 1. Observed 0.8, by chance 0.8 x 0.6 + 0.2 x 0.4 = 0.56."""
    sheet = filled(
        tmp_path / "s.csv", ("yes", "Y"), ("yes", "yes"), ("y", "yes"), ("yes", "no"), ("n", "NO"), ("yes", "")
    )
    found = check_sheet(sheet)
    assert (found.num_rows, found.num_checked, found.num_accepted) == (6, 5, 3)
    assert found.agreement == 0.8
    assert found.kappa == pytest.approx((0.8 - 0.56) / 0.44)
    assert found.rejected == ("e3", "e4")


def test_kappa_is_none_where_there_is_none() -> None:
    assert cohens_kappa([]) == (None, "no row was checked by both annotators")
    value, reason = cohens_kappa([(True, True)] * 3)
    assert value is None and reason is not None and "one and the same" in reason
    assert cohens_kappa([(True, False), (False, True)])[0] == -1.0


def test_a_cell_that_is_no_verdict_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="line 3, field 'annotator_2': 'maybe'"):
        check_sheet(filled(tmp_path / "s.csv", ("yes", "no"), ("yes", "maybe")))
    (tmp_path / "short.csv").write_text("edit_id,annotator_1,annotator_2\ne1,yes\n")
    assert check_sheet(tmp_path / "short.csv").num_checked == 0
    (tmp_path / "t.csv").write_text("edit_id;annotator_1;annotator_2\n")
    with pytest.raises(RecordError, match="no column 'edit_id'"):
        check_sheet(tmp_path / "t.csv")
