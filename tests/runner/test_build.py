"""Building by MultiMedBench's recipe: what is kept, what is written, and what an interruption costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "builders"))

import published_trees as trees

from reground.benchmarks.builders.items import Item
from reground.benchmarks.builders.paraphrase import Paraphrase, RuleParaphraser
from reground.benchmarks.files import FilesBenchmark
from reground.benchmarks.validation import validate_benchmark
from reground.cli.main import app
from reground.edits.files import read_edits, read_probes
from reground.errors import InputError, RunDirectoryError
from reground.models.base import Output, Query
from reground.models.registry import MODELS, ModelEntry
from reground.models.scripted import ScriptedFact, ScriptedModel
from reground.runner.build import BuildReport, BuildSettings, Sources, build_multimed

#: Item 0 it gets right (bone is B), items 1 and 3 wrong, the others it does not know.
ANSWERS = {
    "What is shown in image 0?": "B",
    "What is shown in image 1?": "C",
    "What is shown in image 3?": "organ 3",
    "How do the images differ?": "A. grows",
    "Which sign is it?": "ring",
}
ASKED: list[str] = []


class Spied(ScriptedModel):
    def generate(self, queries: Sequence[Query], **settings: Any) -> list[list[Output]]:
        ASKED.extend(query.question for query in queries)
        return super().generate(queries, **settings)


def load(spec: str = "scripted:filter", dtype: str | None = None, device: str | None = None) -> ScriptedModel:
    return Spied([ScriptedFact(question=question, answer=answer) for question, answer in ANSWERS.items()], name=spec)


class Counting:
    """The rules, until so many were put; then the power fails."""

    name = "rules"

    def __init__(self, num_before_failure: int | None = None) -> None:
        self.asked: list[str] = []
        self._num_left = num_before_failure

    def paraphrase(self, item: Item) -> Paraphrase:
        if self._num_left == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(item.id)
        return RuleParaphraser().paraphrase(item)

    def close(self) -> None:
        pass


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    ASKED.clear()
    return Sources(
        pmc_vqa=trees.write_pmc_vqa(tmp_path / "pmc"),
        medframeqa=trees.write_medframeqa(tmp_path / "frames"),
        medxpertqa=trees.write_medxpertqa(tmp_path / "expert"),
        omnimedvqa=trees.write_omnimedvqa(tmp_path / "omni"),
        nq=trees.write_natural_questions(tmp_path / "nq.json"),
        vqav2=trees.write_vqav2(tmp_path / "vqa"),
    )


def build(sources: Sources, folder: Path, paraphraser: Counting | None = None, **changes: Any) -> BuildReport:
    settings = BuildSettings.model_validate({"model": "scripted:filter", "paraphraser": "rules"} | changes)
    return build_multimed(sources, settings, folder, load=load, paraphraser=paraphraser or Counting())


def test_only_what_the_model_gets_wrong_becomes_an_edit(sources: Sources, tmp_path: Path) -> None:
    report = build(sources, tmp_path / "out")
    assert report.num_items == {"pmc-vqa": 5, "medxpertqa": 1, "omnimedvqa": 1, "medframeqa": 1}
    assert report.num_kept == {"pmc-vqa": 4, "omnimedvqa": 1, "medframeqa": 1}
    assert (report.num_left_out, report.num_edits, report.num_probes, report.num_to_check) == (6, 6, 24, 2)
    edits = read_edits(tmp_path / "out" / "edits.jsonl")
    assert [edit.relation for edit in edits] == ["understanding"] * 5 + ["reasoning"]
    by_question = {edit.question: edit for edit in edits}
    wrong, unknown = by_question["What is shown in image 1?"], by_question["What is shown in image 2?"]
    assert wrong.prior_answer is not None and unknown.prior_answer is None
    assert (wrong.new_answer.text, wrong.prior_answer.text) == ("bone", "a,b")
    assert wrong.source == "PMC-VQA, test_clean.csv, line 3; missed by scripted:filter; paraphrase by rules"
    assert by_question["How do the images differ?"].image is not None


def test_medical_sets_add_near_locality(sources: Sources, tmp_path: Path) -> None:
    near = {"slake": trees.write_slake(tmp_path / "slake"), "vqa_rad": trees.write_vqa_rad(tmp_path / "rad")}
    report = build(sources.model_copy(update=near), tmp_path / "out")
    assert (report.num_left_out, report.num_edits, report.num_probes) == (7, 6, 36)
    assert validate_benchmark(str(tmp_path / "out")).defects == ()
    benchmark = FilesBenchmark(tmp_path / "out")
    for edit in benchmark.edits("test"):
        assert [(probe.level, probe.distance) for probe in benchmark.probes(edit)[3:]] == [
            ("vqav2", "far"),
            ("slake", "near"),
            ("vqa_rad", "near"),
        ]
    assert "locality/slake/train.json" in (tmp_path / "out" / "build.json").read_text()


def test_the_records_are_a_sound_benchmark(sources: Sources, tmp_path: Path) -> None:
    build(sources, tmp_path / "out")
    found = validate_benchmark(str(tmp_path / "out"))
    assert (found.num_edits, found.num_probes, found.defects) == (6, 24, ())
    benchmark = FilesBenchmark(tmp_path / "out")
    for edit in benchmark.edits("test"):
        probes = benchmark.probes(edit)
        assert [(probe.kind, probe.level) for probe in probes] == [
            ("reliability", "exact"),
            ("generality", "text_rephrase"),
            ("text_locality", "natural_questions"),
            ("image_locality", "vqav2"),
        ]
        assert probes[1].question != probes[0].question
        assert probes[1].options == edit.options
        assert edit.image is not None and not any(frame.startswith("/") for frame in edit.image.frames)


def test_every_entry_left_out_is_named(sources: Sources, tmp_path: Path) -> None:
    build(sources, tmp_path / "out")
    lines = (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()
    named = {(Path(entry["file"]).name, entry["field"]) for entry in map(json.loads, lines)}
    assert ("test_clean.csv", "Figure_path") in named and ("Chest CT Scan.json", "image_path") in named
    assert len(lines) == 6


def test_an_interrupted_build_loses_the_item_in_flight_alone(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(sources, tmp_path / "out", Counting(2))
    assert len(ASKED) == 8
    journal = tmp_path / "out" / "filtered.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(kept[:-1]) + kept[-1][:20])  # killed in the middle of the last line
    assert not (tmp_path / "out" / "edits.jsonl").exists()
    ASKED.clear()
    again = Counting()
    build(sources, tmp_path / "out", again)
    assert len(ASKED) == 1
    assert len(again.asked) == 4
    build(sources, tmp_path / "whole")
    for name in ("edits.jsonl", "probes.jsonl", "sheet.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_build_asks_nothing_and_keeps_a_sheet_that_was_filled_in(sources: Sources, tmp_path: Path) -> None:
    build(sources, tmp_path / "out")
    sheet = tmp_path / "out" / "sheet.csv"
    sheet.write_text(sheet.read_text().replace(",,,", ",yes,yes,"))
    filled = sheet.read_text()
    ASKED.clear()
    again = Counting()
    build(sources, tmp_path / "out", again)
    assert (ASKED, again.asked, sheet.read_text()) == ([], [], filled)


def test_a_build_of_other_settings_or_files_is_refused(sources: Sources, tmp_path: Path) -> None:
    build(sources, tmp_path / "out")
    with pytest.raises(RunDirectoryError, match="settings changed"):
        build(sources, tmp_path / "out", seed=1)
    with (sources.pmc_vqa / "test_clean.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(RunDirectoryError, match="files changed"):
        build(sources, tmp_path / "out")
    (tmp_path / "new" / "images").mkdir(parents=True)
    build(sources, tmp_path / "new")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(RunDirectoryError, match=r"thesis\.txt"):
        build(sources, tmp_path / "other")


def test_a_model_of_another_revision_is_refused_where_items_are_left(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(sources, tmp_path / "out", Counting(0))
    journal = tmp_path / "out" / "filtered.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:3]))
    settings = BuildSettings(model="scripted:filter", paraphraser="rules")
    with pytest.raises(RunDirectoryError, match="revision"):
        build_multimed(sources, settings, tmp_path / "out", load=lambda: ScriptedModel([]), paraphraser=Counting())


def test_a_limit_samples_each_set(sources: Sources, tmp_path: Path) -> None:
    report = build(sources, tmp_path / "out", limit=2)
    assert report.num_items == {"pmc-vqa": 2, "medxpertqa": 1, "omnimedvqa": 1, "medframeqa": 1}


def test_a_model_that_is_always_right_leaves_nothing_to_edit(tmp_path: Path, sources: Sources) -> None:
    only = sources.model_copy(update={"medxpertqa": None, "omnimedvqa": None})
    right = ScriptedModel(
        [ScriptedFact(question=f"What is shown in image {n}?", answer="bone") for n in range(5)]
        + [ScriptedFact(question="How do the images differ?", answer="stays")]
    )
    settings = BuildSettings(model="right", paraphraser="rules")
    with pytest.raises(InputError, match="answers all of the 6 items rightly"):
        build_multimed(only, settings, tmp_path / "out", load=lambda: right, paraphraser=Counting())


def test_the_command_builds_and_checks(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelEntry("test_build:load", frozenset({"generate"}), "A filter.", has_weights=False)
    monkeypatch.setitem(MODELS, "scripted:filter", entry)
    monkeypatch.setitem(sys.modules, "test_build", sys.modules[__name__])
    paths = {
        "--pmc-vqa": sources.pmc_vqa,
        "--medframeqa": sources.medframeqa,
        "--nq": sources.nq,
        "--vqav2": sources.vqav2,
    }
    arguments = [str(word) for pair in paths.items() for word in pair]
    arguments += ["--model", "scripted:filter", "--paraphraser", "rules", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, ["benchmarks", "build", "multimed", *arguments])
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["paraphrased_by"] == {"rules": 5}
    assert "4 entries do not fit" in result.stderr
    checked = CliRunner().invoke(app, ["benchmarks", "check-sheet", str(tmp_path / "out" / "sheet.csv"), "--json"])
    assert json.loads(checked.stdout)["reason"] == "no row was checked by both annotators"
    probes = read_probes(tmp_path / "out" / "probes.jsonl")
    assert len(probes) == 20
