"""Published files as benchmarks: what is read, what is refused and where, and what is said of missing images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from published_layouts import mmedit_record, second_fact, write_json
from reground.benchmarks.base import Benchmark, NeedsImages
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.published.formats import FORMATS, create_loader, find_format
from reground.benchmarks.registry import absolute_name, open_benchmark
from reground.benchmarks.rules import probe_misfits
from reground.edits.images import open_image
from reground.errors import ImageError, InputError, RecordError, UnknownNameError

PUBLISHED = os.environ.get("REGROUND_PUBLISHED_DATA")
needs_real_files = pytest.mark.skipif(
    PUBLISHED is None,
    reason="needs the published annotation files: set REGROUND_PUBLISHED_DATA to the folder of vlkeb/, mmedit/, mcmke/",
)


@pytest.fixture
def onehop(tmp_path: Path) -> Path:
    return write_json(tmp_path / "eval_edit_onehop.json", [mmedit_record(port_new=[second_fact()])])


def test_vlkeb_gives_an_image_another_name(onehop: Path) -> None:
    benchmark = open_benchmark(f"vlkeb:{onehop}")
    assert isinstance(benchmark, Benchmark)
    assert isinstance(benchmark, NeedsImages)
    (edit,) = benchmark.edits("test")
    assert (edit.subject, edit.new_answer.text) == ("Old Harbour, Westland", "Newford, Eastland")
    assert edit.prior_answer is not None
    assert edit.prior_answer.text == "Old Harbour, Westland"
    asked = benchmark.probes(edit)
    assert [(probe.kind, probe.level, probe.distance) for probe in asked] == [
        ("reliability", "exact", None),
        ("generality", "text_rephrase", None),
        ("generality", "image_rephrase", None),
        ("generality", "both", None),
        ("text_locality", "natural_questions", "far"),
        ("image_locality", "other_subject", "near"),
        ("portability", "hop1", None),
    ]
    assert [probe.question for probe in asked[4:]] == [
        "who wrote the tide tables",
        "Which bridge is shown?",
        "Which river flows through the town shown?",
    ]
    assert [answer.text for answer in asked[-1].intermediates] == ["Newford, Eastland"]
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_the_second_edit_of_one_hop_is_an_edit_of_its_own(onehop: Path) -> None:
    benchmark = open_benchmark(f"vlkeb:{onehop}")
    (second,) = benchmark.edits("test_second")
    assert (second.modality, second.subject, second.new_answer.text) == ("textual", "Newford, Eastland", "the Ouzel")
    assert [probe.level for probe in benchmark.probes(second)] == ["exact"]
    assert benchmark.card().counts == {
        "records": 1,
        "published.eval_edit_onehop.json": 1278,
        "edits": 2,
        "edits.test": 1,
        "edits.test_second": 1,
    }


@pytest.mark.parametrize("spelling", [("Q&A", "Question", "Answer"), ("QA", "question", "answer")])
def test_hops_are_read_in_both_spellings(tmp_path: Path, spelling: tuple[str, str, str]) -> None:
    whole, question, answer = spelling
    hops = [{"port_type": f"{n}-hop", whole: {question: f"q{n}?", answer: f"a{n}"}} for n in (1, 3)]
    path = write_json(tmp_path / "eval_multihop.json", [mmedit_record(port_new=hops)])
    benchmark = open_benchmark(f"vlkeb:{path}")
    asked = [probe for probe in benchmark.probes(benchmark.edits("test")[0]) if probe.kind == "portability"]
    assert [(probe.level, probe.question) for probe in asked] == [("hop1", "q1?"), ("hop3", "q3?")]


def test_mmedit_reads_both_sets_and_both_splits(tmp_path: Path) -> None:
    for name in ("vqa_train.json", "vqa_eval.json", "caption_eval_edit.json"):
        write_json(tmp_path / name, [mmedit_record()])
    benchmark = open_benchmark(f"mmedit:{tmp_path}")
    assert [edit.relation for edit in benchmark.edits("test")] == ["visual question", "caption"]
    assert [edit.relation for edit in benchmark.edits("train")] == ["visual question"]
    assert {probe.level for edit in benchmark.edits("test") for probe in benchmark.probes(edit)} >= {"ok_vqa", "both"}


def test_a_sample_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record(alt=f"name {n}") for n in range(20)])
    first, second = (open_benchmark(f"vlkeb:{path}").edits("test", 5, 3) for _ in range(2))
    assert [edit.id for edit in first] == [edit.id for edit in second]
    assert len({edit.id for edit in first}) == 5


def test_a_record_that_does_not_fit_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    records = [mmedit_record(), mmedit_record(src=7), mmedit_record(), mmedit_record(alt=" "), "text", mmedit_record()]
    del records[5]["m_loc"]  # type: ignore[attr-defined]
    path = write_json(tmp_path / "eval.json", records)
    found = scan_published("vlkeb", path)
    assert (len(found.items), found.reading.num_records) == (2, 6)
    assert [(error.line, error.field, error.kind) for error in found.reading.errors] == [
        (15, "src", "unsound_record"),
        (41, "alt", "empty_target"),
        (54, None, "unsound_record"),
        (55, "m_loc", "unsound_record"),
    ]
    with pytest.raises(RecordError, match=r"line 15 \(record 1\), field 'src'.*3 more records"):
        open_benchmark(f"vlkeb:{path}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no record"),
        ("[]", "holds no record"),
        ("{}", "'src': the key is missing"),
        ("[1, 2", "is a number"),
        ('[{"src": "a", "src": "b"}]', "'src': the key is given twice"),
        ('[{"src": NaN}]', "not a JSON list"),
        ("[" * 100_000, "not a JSON list"),
        ("nonsense", "not JSON"),
    ],
)
def test_a_damaged_file_is_a_message(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "eval.json"
    path.write_text(text)
    assert says in scan_published("vlkeb", path).reading.errors[0].tried


def test_what_follows_a_list_is_not_passed_over(tmp_path: Path) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record()])
    path.write_text(path.read_text() + "\n" + path.read_text())
    with pytest.raises(RecordError, match="not a JSON list"):
        open_benchmark(f"vlkeb:{path}")


def test_names_of_formats_and_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vlkeb'"):
        open_benchmark("vlkep:/data/eval.json")
    with pytest.raises(InputError, match="names no file"):
        open_benchmark("vlkeb:")
    with pytest.raises(InputError, match=r"none\.json"):
        open_benchmark(f"vlkeb:{tmp_path / 'none.json'}")
    with pytest.raises(RecordError, match="no record in the format"):
        open_benchmark(f"vlkeb:{tmp_path}")
    with pytest.raises(InputError, match="image root"):
        open_benchmark("phantom", str(tmp_path))


def test_a_published_name_holds_in_every_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_name("vlkeb:a.json") == f"vlkeb:{tmp_path / 'a.json'}"
    assert absolute_name("phantom") is None


def test_files_are_known_by_their_published_names(onehop: Path, tmp_path: Path) -> None:
    assert find_format(onehop) == "vlkeb"
    assert find_format(write_json(tmp_path / "own" / "mine.json", [])) is None


def test_missing_images_are_counted_and_their_home_named(onehop: Path, tmp_path: Path) -> None:
    benchmark = open_benchmark(f"vlkeb:{onehop}")
    (edit,) = benchmark.edits("test")
    assert isinstance(benchmark, NeedsImages)
    with pytest.raises(ImageError, match=r"2 of 2 image files .*bing_0\.jpg") as caught:
        benchmark.require_images([edit.image, benchmark.probes(edit)[2].image, None])
    assert "HymanH/VLKEB-data" in caught.value.next_step
    (tmp_path / "images" / "m.0aa1").mkdir(parents=True)
    Image.new("RGB", (3, 3), "red").save(tmp_path / "images" / "m.0aa1" / "bing_0.jpg")
    rooted = open_benchmark(f"vlkeb:{onehop}", str(tmp_path / "images"))
    (same,) = rooted.edits("test")
    assert same.id == edit.id
    assert same.image is not None
    assert isinstance(rooted, NeedsImages)
    rooted.require_images([same.image])
    assert open_image(same.image)[0].size == (3, 3)


def test_paths_of_another_machine_are_found_below_the_image_root(tmp_path: Path) -> None:
    foreign = [mmedit_record(image="/home/other/set/images/1.png"), mmedit_record(image=r"C:\set\images\1.png")]
    path = write_json(tmp_path / "eval.json", foreign)
    (tmp_path / "root" / "images").mkdir(parents=True)
    Image.new("RGB", (3, 3), "red").save(tmp_path / "root" / "images" / "1.png")
    for edit in open_benchmark(f"vlkeb:{path}", str(tmp_path / "root")).edits("test"):
        assert edit.image is not None
        assert open_image(edit.image)[0].size == (3, 3)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_loader_with_its_card(name: str) -> None:
    loader = create_loader(name)
    assert loader.known_defects
    assert set(loader.checksums) <= set(FORMATS[name].counts)


@needs_real_files
@pytest.mark.parametrize(
    ("name", "records", "edits"),
    [
        ("vlkeb:vlkeb/eval_edit_onehop.json", 1278, {"test": 1278, "test_second": 1278}),
        ("mmedit:mmedit/vqa_eval.json", 2093, {"test": 2093}),
        ("mmedit:mmedit/caption_eval_edit.json", 1000, {"test": 1000}),
        ("mcmke:mcmke", 920, {"test": 920}),
    ],
)
def test_the_real_files_hold_what_was_published(name: str, records: int, edits: dict[str, int]) -> None:
    format_name, _, path = name.partition(":")
    benchmark = open_benchmark(f"{format_name}:{PUBLISHED}/{path}")
    card = benchmark.card()
    assert card.version.startswith("published-")
    assert card.counts["records"] == records
    assert {split: card.counts[f"edits.{split}"] for split in card.splits} == edits
    for split in card.splits:
        for edit in benchmark.edits(split):
            assert not [misfit for probe in benchmark.probes(edit) for misfit in probe_misfits(probe)]
