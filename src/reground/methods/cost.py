"""What an edit costs while it is made: seconds, the high-water mark of memory, and energy."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reground.methods.energy import EnergyMeter, devices_of
from reground.models.base import Model

__all__ = ["Measured", "measured", "measured_on"]

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass
class Measured:
    """Filled in when the ``with`` block ends.

    Attributes:
        seconds: Wall time, device synchronised at both ends.
        peak_bytes: Highest memory above what was in use at the start. On CUDA the allocator's own counter, on
            a CPU the process's resident set, once freed memory has been given back. None where neither can be
            read, and where the process's mark cannot be reset and did not move.
        joules: Energy used on the devices; None where one of them does not report it.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None
    joules: float | None = None


def measured_on(model: Model) -> AbstractContextManager[Measured]:
    """Time, peak memory and energy of the block, on the devices of a model."""
    return measured(model.info.device, devices_of(model))


@contextmanager
def measured(device: str, devices: Sequence[str] = ()) -> Iterator[Measured]:
    """Time, peak memory and energy of the block.

    Args:
        device: Where the model runs, e.g. ``cpu`` or ``cuda:0``.
        devices: All devices it is on; by default that one.
    """
    result = Measured()
    is_cuda = device.startswith("cuda")
    peak = _cuda_peak(device) if is_cuda else _process_peak()
    next(peak)
    if is_cuda:
        _synchronise(device)
    meter = EnergyMeter(devices or (device,))
    started = time.perf_counter()
    try:
        yield result
    finally:
        if is_cuda:
            _synchronise(device)
        result.seconds = time.perf_counter() - started
        result.joules = meter.joules()
        result.peak_bytes = next(peak)


def _synchronise(device: str) -> None:
    import torch

    torch.cuda.synchronize(device)


def _cuda_peak(device: str) -> Iterator[int | None]:
    import torch

    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield None
    yield torch.cuda.max_memory_allocated(device) - before


def _process_peak() -> Iterator[int | None]:
    _give_freed_memory_back()
    before = _status_bytes("VmRSS")
    try:
        # Writing 5 resets the kernel's high-water mark of this process to what is resident now.
        _CLEAR_REFS.write_text("5")
        is_reset = before is not None
    except OSError:
        is_reset = False
    mark = _lifetime_peak_bytes()
    yield None
    if is_reset and before is not None and (after := _status_bytes("VmHWM")) is not None:
        yield max(0, after - before)
    else:
        moved = _lifetime_peak_bytes() - mark
        yield moved if moved > 0 else None


def _give_freed_memory_back() -> None:
    """Memory that an earlier edit freed is still resident, and would hide as much of this one's peak."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def _status_bytes(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def _lifetime_peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
