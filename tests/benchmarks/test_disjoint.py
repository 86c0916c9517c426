"""The part of a file that shares no subject with training data."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import mmedit_record, write_json
from reground.benchmarks.defects import check_benchmark
from reground.benchmarks.disjoint import write_disjoint
from reground.benchmarks.registry import open_benchmark
from reground.errors import InputError


def test_no_subject_is_left_that_is_trained_on(tmp_path: Path) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record(), mmedit_record(pred="Fjärd"), mmedit_record(alt="")])
    train = write_json(tmp_path / "train.json", [mmedit_record()])
    out = tmp_path / "disjoint.json"
    assert write_disjoint("vlkeb", path, train, out) == (1, 2)
    assert [edit.subject for edit in open_benchmark(f"vlkeb:{out}").edits("test")] == ["Fjärd"]
    left = {defect.kind for defect in check_benchmark(str(out), format_name="vlkeb", against=str(train)).defects}
    assert "repeated_across_splits" not in left
    with pytest.raises(InputError, match="cannot write"):
        write_disjoint("vlkeb", path, train, out)


def test_nothing_left_is_a_message(tmp_path: Path) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record()])
    with pytest.raises(InputError, match="no record"):
        write_disjoint("vlkeb", path, path, tmp_path / "out.json")
