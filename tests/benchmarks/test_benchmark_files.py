"""A folder as a benchmark, its card, and the check that finds every defect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from reground.benchmarks.base import Benchmark
from reground.benchmarks.files import FilesBenchmark
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.validation import validate_benchmark
from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe
from reground.errors import InputError, RecordError, UnknownNameError


def make_edit(subject: str, split: str = "test", image: str | None = None) -> Edit:
    return Edit(
        subject=subject,
        relation="drug",
        modality="visual" if image else "textual",
        question=f"what is the drug for {subject}?",
        image=ImageRef(frames=(image,)) if image else None,
        new_answer=Answer(text="tarvexin"),
        statement=f"the drug for {subject} is tarvexin.",
        source="a test",
        split=split,
    )


def make_probe(edit: Edit, question: str | None = None) -> Probe:
    return Probe(
        edit_id=edit.id,
        kind="reliability",
        level="exact",
        question=question or edit.question,
        image=edit.image,
        expectation=Expectation(kind="answer", answer=edit.new_answer),
    )


def write(folder: Path, edits: list[Edit], probes: list[Probe]) -> str:
    folder.mkdir(exist_ok=True)
    write_records(folder / "edits.jsonl", edits)
    write_records(folder / "probes.jsonl", probes)
    return str(folder)


@pytest.fixture
def edits() -> list[Edit]:
    return [make_edit("velmora"), make_edit("oskaris", "train"), make_edit("quillan")]


def test_the_checksum_covers_the_images(tmp_path: Path) -> None:
    """An image that was replaced under the same name passed for the same data."""
    edit = make_edit("ring", image="ring.png")
    name = write(tmp_path / "mine", [edit], [make_probe(edit)])
    checksums = set()
    for colour in ("red", "blue"):
        Image.new("RGB", (4, 4), colour).save(tmp_path / "mine" / "ring.png")
        checksums.add(open_benchmark(name).card().checksum)
    assert len(checksums) == 2


def test_a_folder_is_a_benchmark(tmp_path: Path, edits: list[Edit]) -> None:
    name = write(tmp_path / "mine", edits, [make_probe(edit) for edit in edits])
    benchmark = open_benchmark(name)
    assert isinstance(benchmark, Benchmark)
    card = benchmark.card()
    assert (card.name, card.splits, card.source) == ("mine", ("test", "train"), "a test")
    assert card.counts == {"edits": 3, "probes": 3, "edits.test": 2, "edits.train": 1}
    assert [edit.subject for edit in benchmark.edits("test")] == ["velmora", "quillan"]
    assert [probe.edit_id for probe in benchmark.probes(edits[1])] == [edits[1].id]
    with pytest.raises(InputError, match="no split 'dev'"):
        benchmark.edits("dev")


def test_the_checksum_follows_the_content_and_not_the_place(tmp_path: Path, edits: list[Edit]) -> None:
    probes = [make_probe(edit) for edit in edits]
    same = [FilesBenchmark(Path(write(tmp_path / name, edits, probes))).card().checksum for name in "ab"]
    other = FilesBenchmark(Path(write(tmp_path / "c", edits, [*probes, make_probe(edits[0], "x")]))).card()
    assert same[0] == same[1] != other.checksum
    assert other.version == other.checksum[:12]


def test_probes_of_no_edit_and_edits_without_probe_are_defects(tmp_path: Path, edits: list[Edit]) -> None:
    name = write(tmp_path / "a", edits[:1], [make_probe(edits[0]), make_probe(edits[1])])
    with pytest.raises(RecordError, match=r"line 2, field 'edit_id'") as caught:
        open_benchmark(name)
    assert edits[0].id in caught.value.accepted
    name = write(tmp_path / "b", edits, [make_probe(edits[0])])
    assert [defect.tried.split(":")[0][-6:] for defect in validate_benchmark(name).defects] == [
        "line 2",
        "line 3",
    ]


def test_validation_reports_every_defect(tmp_path: Path, edits: list[Edit]) -> None:
    Image.effect_noise((32, 32), 50).save(tmp_path / "sound.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "sound.png").read_bytes()[:200])
    seen = [
        make_edit("a", image="sound.png"),
        make_edit("b", image="torn.png"),
        make_edit("c", image="none.png"),
    ]
    name = write(tmp_path, seen, [make_probe(edit) for edit in seen])
    with (tmp_path / "probes.jsonl").open("a") as file:
        file.write(json.dumps({"edit_id": seen[0].id}) + "\n{\n")
    found = validate_benchmark(name)
    where = [(Path(d.file or "").name, d.line, d.field) for d in found.defects if isinstance(d, RecordError)]
    assert where == [
        ("probes.jsonl", 4, "kind"),
        ("probes.jsonl", 5, None),
        ("edits.jsonl", 2, "image"),
        ("edits.jsonl", 3, "image"),
        ("probes.jsonl", 2, "image"),
        ("probes.jsonl", 3, "image"),
    ]
    assert (found.num_edits, found.num_probes) == (3, 3)


def test_a_sound_folder_has_no_defects(tmp_path: Path, edits: list[Edit]) -> None:
    name = write(tmp_path / "mine", edits, [make_probe(edit) for edit in edits])
    assert validate_benchmark(name).defects == ()


class _Unsound:
    """A registered benchmark whose loader made mistakes."""

    def card(self) -> object:
        return type("Card", (), {"splits": ("test",)})()

    def edits(self, split: str) -> list[Edit]:
        return [make_edit("a"), make_edit("a"), make_edit("b"), make_edit("c", image="phantom:nothing")]

    def probes(self, edit: Edit) -> list[Probe]:
        return [] if edit.subject == "b" else [make_probe(make_edit("c"))]


def test_registered_benchmarks_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reground.benchmarks.validation.open_benchmark", lambda name: _Unsound())
    told = "\n".join(defect.tried for defect in validate_benchmark("unsound").defects)
    for says in ("occurs twice", "has no probe", "names edit", "phantom:nothing"):
        assert says in told


def test_unknown_names_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'phantom'"):
        open_benchmark("phantum")
    with pytest.raises(InputError, match="no benchmark folder"):
        open_benchmark(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"edits\.jsonl"):
        open_benchmark(str(tmp_path))
