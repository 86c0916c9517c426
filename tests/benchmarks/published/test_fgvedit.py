"""FGVEdit: what is asked beside the edit is about the same image."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import fine_record, write_json
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits


@pytest.mark.parametrize(
    ("answer", "kind", "level"), [("Ada", "portability", "hop1"), ("quill", "generality", "text_rephrase")]
)
def test_the_same_image_is_asked_about(tmp_path: Path, answer: str, kind: str, level: str) -> None:
    write_json(tmp_path / "test_data.json", [fine_record(fg_gen_a=answer)])
    write_json(tmp_path / "train_data.json", [fine_record()])
    benchmark = open_benchmark(f"fgvedit:{tmp_path}")
    assert len(benchmark.edits("train")) == 1
    (edit,) = benchmark.edits("test")
    asked = benchmark.probes(edit)
    assert [(probe.kind, probe.level) for probe in asked] == [
        ("reliability", "exact"),
        ("generality", "text_rephrase"),
        (kind, level),
        ("text_locality", "natural_questions"),
        ("image_locality", "same_image"),
    ]
    assert {probe.image for probe in asked if probe.image is not None} == {edit.image}
    assert asked[-1].distance == "near"
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]
