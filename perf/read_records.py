"""How long reading a published file takes, and how much memory: 10,000 records in MMEdit's layout, no image opened.

    python perf/read_records.py
    python perf/read_records.py --records 100000

Prints one JSON object; the bar for 10,000 records is 2 seconds and 300 MiB for the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from reground.benchmarks.registry import open_benchmark

_MIB = 1024  # ru_maxrss counts KiB on Linux


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000, help="records in the file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "eval.json"
        path.write_text(json.dumps([_record(number) for number in range(given.records)]))
        started = time.perf_counter()
        edits = open_benchmark(f"vlkeb:{path}").edits("test")
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    print(json.dumps({"num_records": len(edits), "read_s": round(seconds, 3), "peak_mib": round(peak)}, indent=2))


def _record(number: int) -> dict[str, str]:
    return {
        "src": f"Which town is shown in picture {number}?",
        "rephrase": f"What is the town in picture {number} called?",
        "pred": f"Old_Harbour_{number},_Westland",
        "alt": f"Newford {number}, Eastland",
        "image": f"m.{number}/bing_0.jpg",
        "image_rephrase": f"m.{number}/bing_1.jpg",
        "loc": f"who wrote the tide tables of {number}",
        "loc_ans": "Ada Quill",
        "m_loc": f"m.x{number}/google_4.jpg",
        "m_loc_q": "Which bridge is shown?",
        "m_loc_a": "Long Span",
    }


if __name__ == "__main__":
    main()
