"""Beliefs are sampled once for a model and used by every run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import scripted_world

from reground.edits.records import ImageRef
from reground.models.base import ModelInfo, Output, Query
from reground.runner.belief_cache import BeliefCache
from reground.runner.journal import read_beliefs
from reground.runner.recipe import Recipe
from reground.runner.run import start_run

INFO = ModelInfo(name="m", revision="sha256:1", dtype="float32", device="cpu")
SETTINGS = {"max_new_tokens": 9, "temperature": 1.0, "num_samples": 2, "seed": 3}
VERSIONS = {"reground": "1", "protocol": "1", "torch": "2", "transformers": "5"}
QUERY = Query(question="which drug?", options=("one", "two"))
OUTPUTS = [Output(text="<think> a </think><answer> b </answer>", num_tokens=6, is_truncated=False)] * 2


def cache(folder: Path, **changes: str) -> BeliefCache:
    fields = {key: changes.pop(key) for key in list(changes) if key in ModelInfo.model_fields}
    return BeliefCache(INFO.model_copy(update=fields), VERSIONS | changes, folder)


def test_what_was_kept_is_found_by_whoever_asks_the_same(tmp_path: Path) -> None:
    cache(tmp_path).keep(QUERY, OUTPUTS, **SETTINGS)
    assert cache(tmp_path).find(QUERY, **SETTINGS) == OUTPUTS
    assert cache(tmp_path, name="the same weights elsewhere").find(QUERY, **SETTINGS) == OUTPUTS


@pytest.mark.parametrize(
    "change", [{"revision": "sha256:2"}, {"dtype": "float16"}, {"device": "cuda:0"}, {"torch": "3"}, {"protocol": "2"}]
)
def test_another_model_or_version_is_asked_anew(tmp_path: Path, change: dict[str, str]) -> None:
    cache(tmp_path).keep(QUERY, OUTPUTS, **SETTINGS)
    assert cache(tmp_path, **change).find(QUERY, **SETTINGS) is None


def test_another_question_image_or_setting_is_asked_anew(tmp_path: Path, tiny_images: list[str]) -> None:
    seen = QUERY.model_copy(update={"image": ImageRef(frames=(tiny_images[0],))})
    cache(tmp_path).keep(seen, OUTPUTS, **SETTINGS)
    assert cache(tmp_path).find(seen, **SETTINGS) == OUTPUTS
    assert cache(tmp_path).find(QUERY, **SETTINGS) is None
    other = seen.model_copy(update={"image": ImageRef(frames=(tiny_images[1],))})
    assert cache(tmp_path).find(other, **SETTINGS) is None
    for setting in SETTINGS:
        assert cache(tmp_path).find(seen, **{**SETTINGS, setting: 7}) is None


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    cache(tmp_path).keep(QUERY, OUTPUTS, **SETTINGS)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert cache(tmp_path).find(QUERY, **SETTINGS) is None
    cache(tmp_path).keep(QUERY, OUTPUTS, **SETTINGS)
    assert cache(tmp_path).find(QUERY, **SETTINGS) == OUTPUTS


def test_a_model_of_unknown_revision_is_not_cached(tmp_path: Path) -> None:
    cache(tmp_path, revision="unknown").keep(QUERY, OUTPUTS, **SETTINGS)
    assert not list(tmp_path.iterdir())
    assert cache(tmp_path, revision="unknown").find(QUERY, **SETTINGS) is None


def test_a_folder_that_cannot_be_written_is_said_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        cache(tmp_path / "file").keep(QUERY, OUTPUTS, **SETTINGS)
    assert "cannot be written" in caplog.text


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
