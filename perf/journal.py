"""How long it takes, and how much memory, to read and summarise the journal of a large run.

    python perf/journal.py [ROWS]

Writes a made-up run of so many rows (1,000,000 by default) to a temporary folder: 40 methods, each on the same edits
with ten probes, outputs that differ from row to row. Then reads and summarises it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reground.edits.files import read_edits, read_probes, write_records
from reground.edits.records import Answer, Edit, Expectation, Probe, Row, Timings
from reground.edits.traces import Delimiters, parse_trace
from reground.evaluation.scores import summarise
from reground.runner.journal import ROWS_FILE, iterate_rows

_NUM_METHODS = 40
_NUM_PROBES = 10
_VERSIONS = dict.fromkeys(("reground", "protocol", "python", "torch", "transformers", "peft", "numpy"), "1.2.3")
_VERSIONS |= {"commit": "0" * 40, "dirty": "false", "model_revision": "0" * 12, "recipe": "c" + "0" * 12}


def _edits(num_edits: int) -> list[Edit]:
    return [
        Edit(
            subject=f"velmora {number}",
            relation="drug",
            modality="textual",
            question=f"what is the drug for velmora {number}?",
            new_answer=Answer(text=f"belumide {number}"),
            prior_answer=Answer(text=f"tarvexin {number}"),
            statement=f"the drug for velmora {number} is now belumide {number}.",
        )
        for number in range(num_edits)
    ]


def _probes(edit: Edit) -> list[Probe]:
    new = Expectation(kind="answer", answer=edit.new_answer)
    same = Expectation(kind="unchanged")
    kinds = [("reliability", "exact")] + [("generality", "text_rephrase")] * 3 + [("portability", "hop2")] * 2
    probes = [
        Probe(edit_id=edit.id, kind=kind, level=level, question=f"{edit.question} ({place})", expectation=new)
        for place, (kind, level) in enumerate(kinds)
    ]
    return probes + [
        Probe(
            edit_id=edit.id,
            kind="text_locality",
            level="other_subject",
            distance="near" if place % 2 else "far",
            question=f"what else, {edit.subject}? ({place})",
            expectation=same,
        )
        for place in range(_NUM_PROBES - len(kinds))
    ]


def _rows(edits: list[Edit], probes: dict[str, list[Probe]]) -> Iterator[Row]:
    draw = random.Random(0)
    for method in range(_NUM_METHODS):
        for step, edit in enumerate(edits):
            for probe in probes[edit.id]:
                is_new = method > 0 and draw.random() < 0.5
                said = edit.new_answer.text if is_new else f"tarvexin {step}"
                think = f"the card {draw.randrange(50)} names {edit.subject}. the drug for {edit.subject} is {said}."
                raw = f"<think>{think}</think><answer>{said}</answer>"
                yield Row(
                    run="r0",
                    method=f"method-{method}" if method else "reference",
                    model="made-up",
                    benchmark="made-up",
                    schedule="single",
                    step=step,
                    checkpoint=int(method > 0),
                    edit_id=edit.id,
                    probe_id=probe.id,
                    phase="after" if method else "before",
                    raw=raw,
                    trace=parse_trace(raw, Delimiters(), num_tokens=40, is_truncated=False),
                    tf=None if probe.is_local else 0.5,
                    is_restored_exactly=True if method else None,
                    timings=Timings(apply_s=0.1, generate_s=0.2, restore_s=0.01),
                    stored_bytes=1000,
                    seed=step,
                    dtype="float32",
                    device="cpu",
                    versions=_VERSIONS,
                )


def _write(folder: Path, num_rows: int) -> None:
    edits = _edits(num_rows // (_NUM_METHODS * _NUM_PROBES))
    probes = {edit.id: _probes(edit) for edit in edits}
    write_records(folder / "edits.jsonl", edits)
    write_records(folder / "probes.jsonl", [probe for asked in probes.values() for probe in asked])
    with (folder / ROWS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(row.model_dump_json() + "\n" for row in _rows(edits, probes))


def _measure(folder: Path) -> None:
    edits, probes = read_edits(folder / "edits.jsonl"), read_probes(folder / "probes.jsonl")
    start = time.perf_counter()
    num_rows = sum(1 for _ in iterate_rows(folder))
    read_s = time.perf_counter() - start
    start = time.perf_counter()
    summarise(edits, probes, iterate_rows(folder))
    print(
        json.dumps(
            {
                "rows": num_rows,
                "file_bytes": (folder / ROWS_FILE).stat().st_size,
                "read_s": round(read_s, 1),
                "read_and_summarise_s": round(time.perf_counter() - start, 1),
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000, metavar="ROWS", help="rows of the run")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="read a run that is there; writes none")
    given = parser.parse_args()
    if given.measure is not None:
        _measure(given.measure)
        return
    with tempfile.TemporaryDirectory() as made:
        _write(Path(made), given.rows)
        subprocess.run([sys.executable, __file__, "--measure", made], check=True)


if __name__ == "__main__":
    main()
