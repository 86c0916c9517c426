"""Warnings of what decodes images, which may quote values of the file, and how they are kept back in every thread.

Filters of warnings are the process's, so that two threads that set them and put them back can leave the wrong ones.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["leave_filters_to_caller", "warnings_kept_back"]

_OF_THREAD = threading.local()


@contextmanager
def warnings_kept_back() -> Iterator[None]:
    """No warnings inside the block; in a thread that leaves the filters to its caller, as the caller has set them."""
    if getattr(_OF_THREAD, "leaves_filters", False):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def leave_filters_to_caller() -> None:
    """To be called first in a thread whose caller keeps warnings back for as long as the thread is at work."""
    _OF_THREAD.leaves_filters = True
