"""Where the router's irrelevant prompts come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from reground.benchmarks.phantom import PhantomBenchmark
from reground.errors import InputError
from reground.methods.wise.irrelevant import PHANTOM_TRAIN, irrelevant_queries
from reground.models.base import Query


def test_the_default_is_never_what_is_scored() -> None:
    """Neither the images nor the pairs of image and question of any scored probe are among the prompts."""
    benchmark = PhantomBenchmark()
    drawn = irrelevant_queries(PHANTOM_TRAIN, 200, 0)
    assert len(drawn) == 200
    scored = [
        (item.question, item.image)
        for split in ("test", "calibration", "unseen")
        for edit in benchmark.edits(split, 8)
        for item in (edit, *benchmark.probes(edit))
    ]
    assert not {query.image for query in drawn if query.image} & {image for _, image in scored}
    assert not {(query.question, query.image) for query in drawn} & set(scored)


def test_the_seed_decides() -> None:
    assert irrelevant_queries(PHANTOM_TRAIN, 7, 3) == irrelevant_queries(PHANTOM_TRAIN, 7, 3)
    assert irrelevant_queries(PHANTOM_TRAIN, 7, 3) != irrelevant_queries(PHANTOM_TRAIN, 7, 4)


def test_a_file_is_read(tmp_path: Path) -> None:
    queries = [Query(question=f"what is {number}?") for number in range(4)]
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(query.model_dump_json() + "\n" for query in queries))
    assert sorted(query.question for query in irrelevant_queries(str(path), 4, 0)) == [q.question for q in queries]
    with pytest.raises(InputError, match="which holds 4"):
        irrelevant_queries(str(path), 5, 0)


@pytest.mark.parametrize("content", [None, "no json\n", '{"q": 1}\n'])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "queries.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        irrelevant_queries(str(path), 1, 0)
