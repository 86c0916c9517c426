"""The artifacts that ship: small, of the models that ship, and learned from nothing that is scored."""

from __future__ import annotations

from pathlib import Path

import pytest

import reground.methods
from reground.benchmarks.registry import open_benchmark
from reground.methods.artifact import Artifact

SHIPPED = sorted((Path(reground.methods.__file__).parent / "artifacts").glob("*/*/artifact.json"))
MAX_BYTES = 6 << 20


@pytest.mark.parametrize("folder", [path.parent for path in SHIPPED], ids=lambda path: f"{path.parts[-2]}-{path.name}")
def test_an_artifact_that_ships_fits_what_ships(folder: Path) -> None:
    from reground.methods.identity import check_identity, read_artifact_tensors
    from reground.models.registry import load_model

    artifact = Artifact.read(folder, folder.parent.name)
    model = load_model(folder.name, device="cpu")
    check_identity(artifact, model, folder)  # type: ignore[arg-type]
    tensors = read_artifact_tensors(artifact, folder)
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) < MAX_BYTES
    phantom = open_benchmark("phantom")
    assert artifact.data.checksum == phantom.card().checksum
    scored = {edit.subject for split in ("test", "unseen") for edit in phantom.edits(split)}
    assert not scored & {*artifact.data.subjects, *artifact.data.validation_subjects}
    points = {point.step: point.validation_loss for point in artifact.report.curve}
    assert points[artifact.report.best_step] < points[0]
