"""How long it takes, and how much memory, to read and summarise the journal of a large run.

    python perf/journal.py [ROWS]

Writes a made-up run of so many rows (1,000,000 by default) to a temporary folder: 40 methods, each on the same edits
with ten probes, outputs that differ from row to row. Then reads and summarises it in a process of its own, with as
many more that judge as there are cores (its peak is its own and theirs, by Linux's count), and has a plain loop judge
its first rows, one after the other, in another: that one adds up nothing and draws no intervals.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from threading import Thread

from reground.edits.files import read_edits, read_probes, write_records
from reground.edits.records import Answer, Edit, Expectation, Probe, Row, Timings
from reground.edits.traces import Delimiters, parse_trace
from reground.evaluation.labels import judge_probe
from reground.evaluation.locality import independence, kept_correct
from reground.evaluation.scores import summarise
from reground.evaluation.stance import RuleStanceReader
from reground.runner.cores import num_usable_cores
from reground.runner.journal import ROWS_FILE, iterate_rows

_NUM_METHODS = 40
_NUM_PROBES = 10
_NUM_PLAIN_ROWS = 50_000
_SECONDS_BETWEEN_LOOKS = 0.2
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
    clock = _Clock()
    num_rows = sum(1 for _ in iterate_rows(folder))
    read = clock.lap("read")
    read["read_peak_bytes"] = _peak_bytes()
    num_judges = num_usable_cores()
    judging = _PeaksOfChildren()
    summarise(edits, probes, iterate_rows(folder), workers=num_judges)
    both = clock.lap("read_and_summarise")
    judges = resource.getrusage(resource.RUSAGE_CHILDREN)
    both["judges_cpu_s"] = round(judges.ru_utime + judges.ru_stime, 1)
    both["judges_peak_bytes"] = judging.total_bytes()
    both["peak_bytes"] = _peak_bytes() + both["judges_peak_bytes"]
    size = (folder / ROWS_FILE).stat().st_size
    print(json.dumps({"rows": num_rows, "file_bytes": size, **read, **both, "judges": num_judges}))


def _measure_plainly(folder: Path, num_rows: int) -> None:
    edit_of = {edit.id: edit for edit in read_edits(folder / "edits.jsonl")}
    probe_of = {probe.id: probe for probe in read_probes(folder / "probes.jsonl")}
    reader = RuleStanceReader()
    clock = _Clock()
    rows = list(islice(iterate_rows(folder), num_rows))
    before_of = {row.probe_id: row for row in rows if row.phase == "before"}
    for row in rows:
        assert row.probe_id is not None
        edit, probe, before = edit_of[row.edit_id], probe_of[row.probe_id], before_of.get(row.probe_id)
        if probe.is_local:
            independence(edit, probe, before, row), kept_correct(probe, before, row)
        else:
            judge_probe(edit, probe, before, row, reader, edit.prior_answer)
    print(json.dumps({"plain_rows": len(rows), **clock.lap("plain"), "plain_peak_bytes": _peak_bytes()}))


class _Clock:
    """Wall time and the processor's, from one lap to the next."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> dict[str, float]:
        now = time.perf_counter(), time.process_time()
        wall_s, cpu_s = (end - start for end, start in zip(now, self._start, strict=True))
        self._start = now
        return {f"{name}_s": round(wall_s, 1), f"{name}_cpu_s": round(cpu_s, 1)}


class _PeaksOfChildren:
    """The largest resident size of each process that this one starts, looked up every so often while they live.

    What ``getrusage`` says of children counts what their parent held when it started them.
    """

    def __init__(self) -> None:
        self._peak_of: dict[int, int] = {}
        Thread(target=self._watch, daemon=True).start()

    def total_bytes(self) -> int:
        """All of them together."""
        return sum(self._peak_of.values())

    def _watch(self) -> None:
        while True:
            for child in active_children():
                with suppress(OSError):
                    said = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{child.pid}/status").read_text())
                    if child.pid is not None and said is not None:
                        self._peak_of[child.pid] = int(said[1]) * 1024
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_a_process_of_its_own(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout.strip(), flush=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000, metavar="ROWS", help="rows of the run")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="read a run that is there; writes none")
    parser.add_argument("--plain", type=Path, metavar="FOLDER", help="judge the first rows of such a run plainly")
    given = parser.parse_args()
    if given.measure is not None:
        _measure(given.measure)
        return
    if given.plain is not None:
        _measure_plainly(given.plain, _NUM_PLAIN_ROWS)
        return
    with tempfile.TemporaryDirectory() as made:
        _write(Path(made), given.rows)
        ours = _in_a_process_of_its_own("--measure", made)
        plain = _in_a_process_of_its_own("--plain", made)
        cpu_s = ours["read_and_summarise_cpu_s"] + ours["judges_cpu_s"]
        ratio = plain["plain_cpu_s"] / plain["plain_rows"] / (cpu_s / ours["rows"])
    print(f"plain loop / ours, processor time of a row: {ratio:.1f}")


if __name__ == "__main__":
    main()
