from __future__ import annotations

import json
from pathlib import Path

import pytest

from reground.errors import RunDirectoryError
from reground.evaluation.results import Score, Summary, read_summary, write_summary


@pytest.fixture
def summary() -> Summary:
    fields = {"method": "ft", "model": "m", "benchmark": "b", "schedule": "single", "checkpoint": 1}
    scored = Score(
        **fields,
        metric="tf",
        level="exact",
        stratum="all",
        value=0.1 + 0.2,
        low=0.0,
        high=1.0,
        n=3,
        num_unscored=0,
    )
    unscored = Score(
        **fields,
        metric="independence_text",
        level="near",
        stratum="all",
        value=None,
        low=None,
        high=None,
        n=0,
        num_unscored=2,
        reason="step failed: apply (2)",
        unscored_reasons={"step failed: apply": 2},
    )
    return Summary(
        protocol_version="1",
        package_version="0",
        reader="fake-1",
        run="r",
        methods=("ft",),
        num_failed_steps=1,
        num_edits=2,
        num_probes=3,
        notes=("肾",),
        scores=(scored, unscored),
    )


def test_a_summary_survives_the_disk(summary: Summary, tmp_path: Path) -> None:
    path = tmp_path / "new" / "summary.json"
    write_summary(summary, path)
    assert read_summary(path) == summary
    assert [entry.name for entry in path.parent.iterdir()] == ["summary.json"]


def test_scores_carry_the_promised_fields_and_optional_ones_only_where_they_say_something(
    summary: Summary, tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    write_summary(summary, path)
    first, second = json.loads(path.read_text())["scores"]
    promised = {"method", "model", "benchmark", "schedule", "checkpoint", "metric", "level", "stratum"}
    promised |= {"value", "low", "high", "n", "num_unscored"}
    assert set(first) == promised
    assert set(second) == promised | {"reason", "unscored_reasons"}
    assert second["value"] is None


def test_a_write_that_fails_leaves_the_old_file(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    write_summary(summary, path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("reground.edits.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_summary(summary.model_copy(update={"run": "other"}), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{", "cannot be read"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99"),
        ('{"schema_version": 1}', "the field 'protocol_version' is missing"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "summary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunDirectoryError, match=message) as caught:
        read_summary(path)
    assert caught.value.accepted and caught.value.next_step


def test_find_returns_the_score_asked_for(summary: Summary) -> None:
    found = summary.find("tf", "exact", method="ft", model="m")
    assert found is not None and found.value == pytest.approx(0.3)
    assert summary.find("tf", "exact", method="ft", model="other") is None
