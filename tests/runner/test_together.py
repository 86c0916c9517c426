"""Groups of edits whose probes are asked in one call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from reground.runner.together import AskedTogether


def grouped(counts: list[int], num_rows: int) -> list[list[int]]:
    edits: Any = [SimpleNamespace(id=str(index)) for index in range(len(counts))]
    probes: Any = {edit.id: [None] * count for edit, count in zip(edits, counts, strict=True)}
    together = AskedTogether(edits, probes, num_rows)
    groups = [together.group(index, edit) for index, edit in enumerate(edits)]
    return [list(group) for group in dict.fromkeys(groups) if group is not None]


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([4, 4, 4], [[0, 1], [2]]),
        ([10, 1], [[0], [1]]),
        ([9, 9], [[0], [1]]),
        ([0, 0, 8, 1], [[0, 1, 2], [3]]),
        ([], []),
    ],
)
def test_neighbours_share_a_call_until_it_is_full(counts: list[int], groups: list[list[int]]) -> None:
    assert grouped(counts, 8) == groups


def test_an_edit_elsewhere_belongs_to_no_group() -> None:
    edit: Any = SimpleNamespace(id="a")
    together = AskedTogether([edit], {"a": []})
    assert together.group(0, edit) == range(0, 1)
    assert together.group(1, edit) is None
    assert together.group(0, SimpleNamespace(id="b")) is None  # type: ignore[arg-type]
