"""How the C library keeps memory that is freed, on a CPU.

For a small model freed memory is best kept for the next tensor, as asking the system for it takes as long as a layer
does; the command line tells the C library so when it starts. Beside the layers of a large model that time is nothing,
while what is kept, in holes that the next tensor does not always fit, comes to several times what is in use.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back_when_freed"]

#: Of mallopt, as glibc's malloc.h numbers them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

#: Blocks from so many bytes on are mapped by themselves, and unmapped when they are freed. glibc's own first choice.
_BYTES = 128 << 10


def give_back_when_freed() -> None:
    """From now on the memory of tensors goes back to the system when they are freed; where this is glibc's to do.

    Environment variables that say otherwise, such as those the command line sets, have no effect from then on.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return
    assert library is not None
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_TOP_PAD):
        library.mallopt(option, _BYTES)
    library.malloc_trim(_BYTES)
