"""Which benchmarks exist. Listing them imports none of them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from reground.benchmarks.base import Benchmark
from reground.errors import UnknownNameError

__all__ = ["BENCHMARKS", "BenchmarkEntry", "is_folder_name", "open_benchmark"]


@dataclass(frozen=True)
class BenchmarkEntry:
    """One line of the registry.

    Attributes:
        benchmark: ``module:Class``, called without arguments when the benchmark is used.
        summary: One line for a person.
    """

    benchmark: str
    summary: str


BENCHMARKS: dict[str, BenchmarkEntry] = {
    "phantom": BenchmarkEntry(
        "reground.benchmarks.phantom:PhantomBenchmark",
        "The built-in clinic: findings and devices, rendered on demand, with probes of every kind.",
    ),
    "multimed": BenchmarkEntry(
        "reground.benchmarks.multimed:MultiMedBenchmark",
        "MultiMed suite on the built-in clinic: understanding and reasoning, letters and free text, for a long life.",
    ),
    "reasonedit": BenchmarkEntry(
        "reground.benchmarks.reasonedit:ReasonEditBenchmark",
        "ReasonEdit suite on the clinic: probe levels, 1-4 hops with the edit at every place, controls, revisions.",
    ),
}


def is_folder_name(name: str) -> bool:
    """Whether a benchmark is named by its folder: it holds a separator, or such a folder is there."""
    # An empty name, as an unset variable gives, would be the working directory.
    return name not in BENCHMARKS and (os.sep in name or name == "." or (bool(name) and Path(name).is_dir()))


def open_benchmark(name: str) -> Benchmark:
    """A benchmark by its registered name, or the one in a folder with ``edits.jsonl`` and ``probes.jsonl``.

    Raises:
        UnknownNameError: Neither such a name nor such a folder; the nearest name is suggested.
        InputError: The folder's files are missing or defective.
    """
    if is_folder_name(name):
        from reground.benchmarks.files import FilesBenchmark

        return FilesBenchmark(Path(name))
    if name not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, [*BENCHMARKS, "path/to/folder"])
    module, _, attribute = BENCHMARKS[name].benchmark.partition(":")
    benchmark: Benchmark = getattr(importlib.import_module(module), attribute)()
    return benchmark
