"""Whatever a published file holds, reading it gives clean records or clear errors."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from published_layouts import mmedit_record, second_fact
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.published.formats import FORMATS

KEYS = [*mmedit_record(), *second_fact(), "port_new", "ie_edit_input_idx", "e_ent", "new_e_ent", "images", "relation"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("x" * 100_000) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SPOILED = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3).map(
    lambda changes: mmedit_record(port_new=[second_fact()]) | changes
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(records=st.lists(SPOILED | VALUES, max_size=4))
def test_no_record_ends_in_a_crash(name: str, records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "eval.json"
        path.write_text(json.dumps(records))
        scan = scan_published(name, path)
        for item in scan.items:
            assert tuple(scan.loader.probes(item))
            assert item.edit.id
        assert scan.items or scan.reading.errors
        assert all(error.file == str(path) for error in scan.reading.errors)
