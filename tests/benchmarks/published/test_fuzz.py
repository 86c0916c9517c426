"""Whatever a published file holds, reading it gives clean records or clear errors."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from published_layouts import (
    cckeb_record,
    comprehended_record,
    evoke_question,
    fine_record,
    image_fact,
    med_record,
    mmedit_record,
    mmke_record,
    second_fact,
    text_fact,
)
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.published.formats import FORMATS

SOUND: dict[str, dict[str, Any]] = {
    "cckeb": cckeb_record(),
    "comprehendedit": comprehended_record(),
    "evoke": evoke_question(),
    "fgvedit": fine_record(),
    "mcmke": {
        "ie_edit_input_idx": 0,
        "relation": "r",
        "e_ent": "a",
        "new_e_ent": "b",
        "ie_question": "q?",
        "images": ["i"],
    },
    "mcmke-iro": image_fact(),
    "mcmke-sro": text_fact(),
    "mmke": mmke_record(),
    "multimedbench": med_record(),
}
VLKEB = mmedit_record(port_new=[second_fact()])
KEYS = [*VLKEB, *second_fact()]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("x" * 100_000) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def spoiled(name: str) -> st.SearchStrategy[Any]:
    """Sound records of a format with up to three keys changed, and anything else."""
    sound = SOUND.get(name, VLKEB)
    changes = st.dictionaries(st.sampled_from([*KEYS, *sound]), VALUES, max_size=3)
    return changes.map(lambda changed: sound | changed) | VALUES


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_record_ends_in_a_crash(name: str, data: st.DataObject) -> None:
    records = data.draw(st.lists(spoiled(name), max_size=4))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "eval.json"
        path.write_text(json.dumps(records))
        scan = scan_published(name, path)
        for item in scan.items:
            assert tuple(scan.loader.probes(item))
            assert item.edit.id
        assert scan.items or scan.reading.errors
        assert all(error.file == str(path) for error in scan.reading.errors)
