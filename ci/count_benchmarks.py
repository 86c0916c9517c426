"""Count what the built-in suites hold into the file that their cards are made from.

python ci/count_benchmarks.py

The tests count anew and hold what they find against it.
"""

from __future__ import annotations

import json
from pathlib import Path

from reground.benchmarks.counted import COUNTED_FILE, Counts
from reground.benchmarks.registry import BENCHMARKS, open_benchmark

FILE = Path(__file__).parent.parent / "src" / "reground" / "benchmarks" / COUNTED_FILE


def main() -> None:
    """Write the file."""
    opened = {name: open_benchmark(name) for name in BENCHMARKS}
    found = {name: suite.count().model_dump(mode="json") for name, suite in opened.items() if isinstance(suite, Counts)}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
