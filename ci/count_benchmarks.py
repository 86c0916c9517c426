"""Count what the built-in suites hold into the file that their cards are made from.

python ci/count_benchmarks.py          write
python ci/count_benchmarks.py --check  fail if a suite holds something else
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reground.benchmarks.counted import COUNTED_FILE, Counts
from reground.benchmarks.registry import BENCHMARKS, open_benchmark

FILE = Path(__file__).parent.parent / "src" / "reground" / "benchmarks" / COUNTED_FILE


def text() -> str:
    """What the file should hold."""
    opened = {name: open_benchmark(name) for name in BENCHMARKS}
    found = {name: suite.count().model_dump(mode="json") for name, suite in opened.items() if isinstance(suite, Counts)}
    return json.dumps(found, indent=1) + "\n"


def main() -> None:
    """Write the file, or hold it against the suites."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text():
        raise SystemExit(f"{FILE.name} differs from the suites: a new version of the data? Then run this script.")


if __name__ == "__main__":
    main()
