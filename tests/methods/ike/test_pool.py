"""The demonstration pool: nothing that is scored is in it, and broken files are named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reground.errors import InputError
from reground.methods.ike.pool import PoolFact, pool_checksum, read_pool
from reground.phantom.world import phantom_world

ROOT = Path(__file__).parents[3]


def test_the_shipped_pool_is_what_its_script_writes() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "ci" / "build_ike_pool.py"), "--check"], check=False, timeout=120)
    assert done.returncode == 0, "run `python ci/build_ike_pool.py`"


def test_the_shipped_pool_names_no_subject_of_another_split() -> None:
    world = phantom_world()
    scored = {name for name, split in world.splits.items() if split != "train"}
    word = re.compile(r"\w+")
    scored_words = {name for name in scored if word.fullmatch(name)}
    for fact in read_pool("phantom"):
        assert world.splits[fact.subject] == "train"
        assert fact.source == "phantom train"
        assert not scored & {fact.subject, fact.new_answer, fact.other_answer}
        said = set(word.findall(" ".join(fact.model_dump().values()).casefold()))
        assert not said & scored_words


def test_each_fact_can_be_shown_in_every_kind() -> None:
    facts = read_pool("phantom")
    assert len(facts) >= 300
    assert len({fact.relation for fact in facts}) >= 7
    assert all(fact.rephrase != fact.question for fact in facts)
    assert all(fact.other_question not in (fact.question, fact.rephrase) for fact in facts)


def test_the_checksum_follows_content_and_order() -> None:
    one, other = read_pool("phantom")[:2]
    assert len({pool_checksum([one, other]), pool_checksum([other, one]), pool_checksum([one])}) == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read"), ("\n", "no record"), ('{"subject": "ring"}\n', "record 1: relation"), ("{", "record 1")],
)
def test_a_file_that_is_no_pool_is_refused(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "pool.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=why):
        read_pool(str(path))


def test_an_own_pool_is_read(tmp_path: Path) -> None:
    fact = read_pool("phantom")[0]
    path = tmp_path / "pool.jsonl"
    path.write_text(fact.model_dump_json() + "\n\n")
    assert read_pool(str(path)) == (PoolFact.model_validate(fact),)
