"""The console entry point: sets up the process, then hands over to the command line.

Two settings make torch on a CPU faster and steadier and act only if they are there in time. OpenMP must be told before
torch is imported not to let idle threads spin. The memory allocator of glibc reads its own at process start, so the
process replaces itself once: without them it gives every large tensor back to the system and asks for it again.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

__all__ = ["main"]

_SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "536870912",
}
_GUARD = "REGROUND_LAUNCHED"

#: A fault of ours, as sysexits.h has it (EX_SOFTWARE); Python's own 1 would claim failed steps.
_CRASHED = 70


def main() -> None:
    """Run the command line; settings the user made himself stay as they are."""
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)
    if _is_glibc() and _GUARD not in os.environ and any(key not in os.environ for key in _ALLOCATOR):
        environment = {**_ALLOCATOR, **os.environ, _GUARD: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    try:
        from reground.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before there was anything to say how to go on with
        sys.exit(128 + signal.SIGINT)
    except Exception:
        traceback.print_exc()
        print(
            "This is a fault of reground, not yours; please report what stands above.\n"
            "If a run had begun, its finished steps are kept: `reground run resume DIR` goes on with it.",
            file=sys.stderr,
        )
        sys.exit(_CRASHED)


def _is_glibc() -> bool:
    try:
        return sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
