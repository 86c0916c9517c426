"""One worker against several for the same grid, from the command to the summary.

    python perf/executors.py
    python perf/executors.py --executor local --workers 2 --edits 50

The grid is the built-in clinic in two seeds with four methods that change weights, each in two blocks of edits: 16
units besides those that ask the unedited model. Both sides run the same command in a process of its own, with a cache
of its own, so that starting workers and asking the unedited model count. Rows must be the same but for the clock.
Prints one JSON object, and ends with 1 if rows differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_METHODS = ("ft", "ft-l", "ft-chain", "lora")
_SEEDS = (0, 1)
#: Of a row, what the clock, the memory, the current or the place of the work decides.
_OF_THE_MOMENT = frozenset({"timings", "peak_bytes", "energy", "versions"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", default="ray", choices=("ray", "local"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--edits", type=int, default=50, help="edits of each method and seed; 25 and more make two blocks"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sides = {count: _run(Path(scratch), given.executor, count, given.edits) for count in (1, given.workers)}
    (one_s, one_rows), (many_s, many_rows) = sides[1], sides[given.workers]
    result = {
        "executor": given.executor,
        "workers": given.workers,
        "edits": given.edits,
        "rows": len(one_rows),
        "one_worker_s": round(one_s, 1),
        "workers_s": round(many_s, 1),
        "times_faster": round(one_s / many_s, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "rows_are_equal": one_rows == many_rows,
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["rows_are_equal"] else 1)


def _run(scratch: Path, executor: str, num_workers: int, num_edits: int) -> tuple[float, list[str]]:
    """Seconds of the whole command, and its rows without what the moment decides, sorted."""
    folder = scratch / f"{num_workers}-workers"
    settings = [
        f"seeds=[{','.join(map(str, _SEEDS))}]",
        f"methods=[{','.join(_METHODS)}]",
        f"benchmark.limit={num_edits}",
    ]
    command = [
        str(Path(sys.executable).with_name("reground")),
        "run",
        "start",
        "quickstart",
        "--out",
        str(folder),
        "--quiet",
    ]
    command += ["--executor", executor, "--workers", str(num_workers)]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "REGROUND_CACHE": str(scratch / f"cache-{num_workers}"), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    rows = [json.loads(line) for file in sorted(folder.rglob("rows.jsonl")) for line in file.open(encoding="utf-8")]
    return seconds, sorted(json.dumps(_lasting(row), sort_keys=True) for row in rows)


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _OF_THE_MOMENT}


if __name__ == "__main__":
    main()
