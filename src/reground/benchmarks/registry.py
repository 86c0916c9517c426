"""Which benchmarks exist. Listing them imports none of them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from reground.benchmarks.base import Benchmark
from reground.benchmarks.published.formats import FORMATS, split_name
from reground.errors import InputError, UnknownNameError

__all__ = ["BENCHMARKS", "BenchmarkEntry", "absolute_name", "is_folder_name", "open_benchmark"]


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
    if name in BENCHMARKS or split_name(name) is not None:
        return False
    # An empty name, as an unset variable gives, would be the working directory.
    return os.sep in name or name == "." or (bool(name) and Path(name).is_dir())


def absolute_name(name: str) -> str | None:
    """A name of the same benchmark that holds in every working directory; None if it is a registered one."""
    published = split_name(name)
    if published is not None:
        return f"{published[0]}:{published[1].absolute()}"
    return str(Path(name).absolute()) if is_folder_name(name) else None


def open_benchmark(name: str, image_root: str | None = None) -> Benchmark:
    """A benchmark by its registered name, ``FORMAT:PATH`` for a published data set, or a folder.

    Args:
        name: A registered name; a format of ``benchmarks.published`` and the path of its file or folder; or a folder
            with ``edits.jsonl`` and ``probes.jsonl``.
        image_root: Folder of a published set's images; None: that of its records.

    Raises:
        UnknownNameError: Neither such a name nor such a format nor such a folder; the nearest name is suggested.
        InputError: The files are missing or defective, or an image root was given to a benchmark that takes none.
    """
    published = split_name(name)
    if published is not None:
        from reground.benchmarks.published.benchmark import PublishedBenchmark

        return PublishedBenchmark(*published, Path(image_root) if image_root is not None else None)
    if image_root is not None:
        raise InputError(
            f"benchmark {name!r} was given the image root {image_root!r}.",
            "an image root for a published data set, e.g. vlkeb:PATH; a folder's image paths count from the folder",
            "leave it out.",
        )
    if is_folder_name(name):
        from reground.benchmarks.files import FilesBenchmark

        return FilesBenchmark(Path(name))
    if name not in BENCHMARKS:
        known = [*BENCHMARKS, *(f"{format_name}:PATH" for format_name in FORMATS), "path/to/folder"]
        raise UnknownNameError("benchmark", name, known)
    module, _, attribute = BENCHMARKS[name].benchmark.partition(":")
    benchmark: Benchmark = getattr(importlib.import_module(module), attribute)()
    return benchmark
