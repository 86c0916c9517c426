"""What unedited models wrote is kept on disk and used by every run."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import scripted_world

from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.models.base import ModelInfo, Output, Query
from reground.runner.journal import read_beliefs, read_rows
from reground.runner.output_cache import OutputCache, Written
from reground.runner.recipe import Recipe
from reground.runner.run import start_run

INFO = ModelInfo(name="m", revision="sha256:1", dtype="float32", device="cpu")
SETTINGS = {"max_new_tokens": 9, "temperature": 1.0, "num_samples": 2, "seed": 3}
VERSIONS = {"reground": "1", "protocol": "1", "torch": "2", "transformers": "5"}
QUERY = Query(question="which drug?", options=("one", "two"))
OUTPUT = Output(text="<think> a </think><answer> b </answer>", num_tokens=6, is_truncated=False)
WRITTEN = Written(outputs=(OUTPUT, OUTPUT), seconds=0.5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "outputs.sqlite"


def cache(file: Path, **changes: str) -> OutputCache:
    fields = {key: changes.pop(key) for key in list(changes) if key in ModelInfo.model_fields}
    return OutputCache(INFO.model_copy(update=fields), VERSIONS | changes, file)


def test_what_was_kept_is_found_by_whoever_asks_the_same(file: Path) -> None:
    cache(file).keep([(QUERY, WRITTEN)], **SETTINGS)
    assert cache(file).find([QUERY, QUERY], **SETTINGS) == [WRITTEN, WRITTEN]
    assert cache(file, name="the same weights elsewhere").find([QUERY], **SETTINGS) == [WRITTEN]


@pytest.mark.parametrize(
    "change", [{"revision": "sha256:2"}, {"dtype": "float16"}, {"device": "cuda:0"}, {"torch": "3"}, {"protocol": "2"}]
)
def test_another_model_or_version_is_asked_anew(file: Path, change: dict[str, str]) -> None:
    cache(file).keep([(QUERY, WRITTEN)], **SETTINGS)
    assert cache(file, **change).find([QUERY], **SETTINGS) == [None]


def test_another_question_image_or_setting_is_asked_anew(file: Path, tiny_images: list[str]) -> None:
    seen = QUERY.model_copy(update={"image": ImageRef(frames=(tiny_images[0],))})
    cache(file).keep([(seen, WRITTEN)], **SETTINGS)
    others = [
        QUERY,
        seen.model_copy(update={"image": ImageRef(frames=(tiny_images[1],))}),
        *(seen.model_copy(update=change) for change in ({"note": "n"}, {"chain_tokens": 4}, {"options": ()})),
    ]
    assert cache(file).find([seen, *others], **SETTINGS) == [WRITTEN, *[None] * len(others)]
    for setting in SETTINGS:
        assert cache(file).find([seen], **{**SETTINGS, setting: 7}) == [None]


def test_greedy_answers_are_the_same_whatever_the_seed(file: Path) -> None:
    cache(file).keep([(QUERY, WRITTEN)], max_new_tokens=9, temperature=0.0)
    assert cache(file).find([QUERY], max_new_tokens=9, temperature=0.0, seed=5, num_samples=1) == [WRITTEN]


@pytest.mark.parametrize("damage", [b"{}", b"SQLite format 3\x00" + b"\xff" * 200])
def test_a_damaged_file_is_begun_anew(file: Path, damage: bytes) -> None:
    cache(file).keep([(QUERY, WRITTEN)], **SETTINGS)
    file.write_bytes(damage)
    assert cache(file).find([QUERY], **SETTINGS) == [None]
    cache(file).keep([(QUERY, WRITTEN)], **SETTINGS)
    assert cache(file).find([QUERY], **SETTINGS) == [WRITTEN]


def test_an_entry_of_another_version_is_as_good_as_none(file: Path) -> None:
    cache(file).keep([(QUERY, WRITTEN)], **SETTINGS)
    with sqlite3.connect(file) as base:
        base.execute("UPDATE outputs SET content = '{}'")
    base.close()
    assert cache(file).find([QUERY], **SETTINGS) == [None]


def test_a_model_of_unknown_revision_is_not_cached(file: Path) -> None:
    cache(file, revision="unknown").keep([(QUERY, WRITTEN)], **SETTINGS)
    assert not file.exists()
    assert cache(file, revision="unknown").find([QUERY], **SETTINGS) == [None]


def test_a_place_that_cannot_be_written_is_said_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        cache(tmp_path / "file" / "outputs.sqlite").keep([(QUERY, WRITTEN)], **SETTINGS)
    assert "cannot be opened" in caplog.text


def test_the_least_recently_used_go_when_there_is_no_room(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [Query(question=f"question {index}?") for index in range(6)]
    monkeypatch.setenv("REGROUND_CACHE_BYTES", str(4 * len(WRITTEN.model_dump_json())))
    for query in queries[:4]:
        cache(file).keep([(query, WRITTEN)], **SETTINGS)
    assert cache(file).find(queries[:1], **SETTINGS) == [WRITTEN]
    cache(file).keep([(queries[4], WRITTEN)], **SETTINGS)
    assert [bool(found) for found in cache(file).find(queries, **SETTINGS)] == [True, False, False, True, True, False]


def test_a_limit_that_is_no_number_is_refused_before_anything_is_written(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROUND_CACHE_BYTES", "much")
    fields = {"name": "small", "model": "scripted:editable", "benchmark": str(world), "methods": ["tell"]}
    with pytest.raises(InputError, match="'much'"):
        start_run(Recipe.model_validate(fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_counts_what_it_adds(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROUND_CACHE_BYTES", str(4 * len(WRITTEN.model_dump_json())))
    queries = [Query(question=f"question {index}?") for index in range(9)]
    filled = cache(file)
    for query in queries:
        filled.keep([(query, WRITTEN)], **SETTINGS)
    kept = [bool(found) for found in filled.find(queries, **SETTINGS)]
    assert kept[-1] and sum(kept) in (3, 4)


def test_a_file_that_somebody_took_away_is_begun_anew(file: Path) -> None:
    kept = cache(file)
    kept.keep([(QUERY, WRITTEN)], **SETTINGS)
    file.unlink()
    assert kept.find([QUERY], **SETTINGS) == [None]
    kept.keep([(QUERY, WRITTEN)], **SETTINGS)
    assert cache(file).find([QUERY], **SETTINGS) == kept.find([QUERY], **SETTINGS) == [WRITTEN]


def test_many_are_found_in_their_order(file: Path) -> None:
    queries = [Query(question=f"question {index}?") for index in range(1200)]
    kept = [(query, WRITTEN.model_copy(update={"seconds": float(index)})) for index, query in enumerate(queries)]
    cache(file).keep(kept, **SETTINGS)
    found = cache(file).find(queries[::-1], **SETTINGS)
    assert [one.seconds for one in found if one] == [float(index) for index in range(1200)][::-1]


def test_a_second_run_asks_the_unedited_model_nothing(world: Path, tmp_path: Path) -> None:
    fields = {"name": "small", "model": "scripted:editable", "benchmark": str(world), "methods": ["overwrite"]}
    recipe = Recipe.model_validate({**fields, "protocol": {"belief_samples": 2, "bootstrap_resamples": 0}})
    first = start_run(recipe, tmp_path / "first").folder
    asked = [entry for entry in scripted_world.SEEN if entry[0] == "generate"]
    second = start_run(recipe, tmp_path / "second").folder
    asked_again = [entry for entry in scripted_world.SEEN if entry[0] == "generate"][len(asked) :]
    assert len(asked_again) == 3, "the three edits, and no reference"
    before = [[row.raw for row in read_rows(folder) if row.phase == "before"] for folder in (first, second)]
    assert before[0] == before[1]
    prices = [row.timings.generate_s for row in read_rows(second) if row.phase == "before"]
    assert all(price is not None and price > 0 for price in prices)


def test_a_second_run_has_the_same_beliefs_and_does_not_sample(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(**protocol: Any) -> Recipe:
        settings = {"belief_samples": 4, "bootstrap_resamples": 0, **protocol}
        fields = {"name": "small", "model": "scripted:editable", "benchmark": str(world), "methods": ["tell"]}
        return Recipe.model_validate({**fields, "protocol": settings})

    sampled: list[int] = []
    generate = scripted_world.SpiedModel.generate

    def spy(self: Any, queries: Any, **settings: Any) -> Any:
        sampled.append(settings.get("num_samples", 1))
        return generate(self, queries, **settings)

    monkeypatch.setattr(scripted_world.SpiedModel, "generate", spy)
    first = start_run(recipe(), tmp_path / "first").folder
    assert sampled.count(4) == 3
    # how long the chains of probes may be does not move what is believed
    second = start_run(recipe(chain_tokens=2), tmp_path / "second").folder
    assert sampled.count(4) == 3
    assert read_beliefs(second) == read_beliefs(first)
    start_run(recipe(belief_temperature=0.5), tmp_path / "third")
    assert sampled.count(4) == 6
