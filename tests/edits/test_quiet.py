"""Warnings of decoders are kept back, and the process's filters are set by one thread at a time."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

from reground.edits.quiet import leave_filters_to_caller, warnings_kept_back


def filters_inside() -> list[object]:
    with warnings_kept_back():
        return list(warnings.filters)


def test_a_thread_of_its_own_keeps_warnings_back_and_puts_the_filters_back() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(filters_inside).result()
    assert inside != before and inside[0][0] == "ignore"  # type: ignore[index]
    assert warnings.filters == before


def test_a_thread_that_leaves_them_to_its_caller_touches_no_filter() -> None:
    with warnings_kept_back(), ThreadPoolExecutor(1, initializer=leave_filters_to_caller) as pool:
        before = list(warnings.filters)
        assert pool.submit(filters_inside).result() == before
        assert before[0][0] == "ignore"
