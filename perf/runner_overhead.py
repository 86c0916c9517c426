"""The share of a run's wall time that goes neither into the model nor into the method.

What is left over is the runner's: planning, keys of questions, rows, the journal, chain states, scores of the summary.
Measured inside one run: every call to the model (loading it, answers, scores, fingerprints) and to the method
(applying, undoing, saving and loading its state) is timed where it is entered, calls within calls once. Planning (edits
and probes are built and checked once, however many are used), the journal and the summary are timed beside them.

    python perf/runner_overhead.py
    python perf/runner_overhead.py --edits 50 --sample 10
    python perf/runner_overhead.py --edits 50 --schedule single --method prompt --profile 20

The run is a chain of so many edits on the built-in world with one of its models, and at checkpoints a sample of the
edits so far is probed. Prints one JSON object, and ends with 1 if the share is above ``--limit``. Without a cache of
outputs, so that the unedited model is asked; a small model is the hardest case, as its own share is small.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import json
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from reground.methods.chain import EditChain
from reground.models.base import Model
from reground.models.registry import load_model
from reground.runner import run, work
from reground.runner.journal import Journal
from reground.runner.recipe import load_recipe

_CHECKPOINTS = (1, 50, 250, 500, 750, 1000)
_OF_THE_MODEL = ("generate", "score", "fingerprint")
_OF_THE_EDITED_MODEL = (*_OF_THE_MODEL, "restore", "save", "asked")
_OF_A_CHAIN = ("add", "restore", "save", "load")


class _Clock:
    """Seconds inside of timed calls, by name; a call made within another one belongs to the outer.

    Beside them the process's own time, which counts on a machine that is busy with something else.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_s = 0.0
        self._is_running = False

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, with its time added to what is under ``name``."""

        @functools.wraps(call)
        def wrapped(*arguments: Any, **settings: Any) -> Any:
            if self._is_running:
                return call(*arguments, **settings)
            self._is_running = True
            start, cpu_start = time.perf_counter(), time.process_time()
            try:
                return call(*arguments, **settings)
            finally:
                self.cpu_s += time.process_time() - cpu_start
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
                self._is_running = False

        return wrapped

    def watch(self, thing: Any, kind: str, names: tuple[str, ...]) -> None:
        """Time these methods of a class or an object, as far as it has them."""
        for name in names:
            if hasattr(thing, name):
                setattr(thing, name, self.timed(f"{kind}.{name}", getattr(thing, name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=1000, help="edits of the run (T)")
    parser.add_argument("--schedule", choices=("lifelong", "single"), default="lifelong", help="how they are probed")
    parser.add_argument("--sample", type=int, default=50, help="edits probed at a checkpoint at most")
    parser.add_argument("--method", default="ft", help="editing method")
    parser.add_argument("--benchmark", default="multimed", help="suite of the built-in world")
    parser.add_argument("--model", default="phantom-med", help="model that is edited")
    parser.add_argument("--limit", type=float, default=0.02, help="share that is let pass")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="print the N dearest functions to stderr")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["REGROUND_CACHE"] = str(Path(scratch) / "cache")
        result = _run(given, Path(scratch) / "run")
    result["limit"] = given.limit
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["runner_share"] > given.limit else 0)


def _run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clock = _Clock()
    recipe = load_recipe("lifelong", _overrides(given))

    def load() -> Model:
        model = clock.timed("model.load", load_model)(recipe.model, dtype=recipe.dtype, device=recipe.device)
        clock.watch(model, "model", _OF_THE_MODEL)
        return model

    own = _Clock()  # none of these calls the model
    own.watch(run, "plan", ("load_workload",))
    own.watch(Journal, "journal", ("append",))
    own.watch(run, "summary", ("summarise",))
    clock.watch(EditChain, "method", _OF_A_CHAIN)
    _watch_editors(clock)
    profile = cProfile.Profile()
    start, cpu_start = time.perf_counter(), time.process_time()
    if given.profile:
        done = profile.runcall(run.start_run, recipe, folder, load=load)
    else:
        done = run.start_run(recipe, folder, load=load)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    if given.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(given.profile)
    outside_s = wall_s - sum(clock.seconds.values())
    return {
        "model": recipe.model,
        "benchmark": recipe.benchmark.name,
        "schedule": given.schedule,
        "method": given.method,
        "edits": given.edits,
        "steps": done.num_steps,
        "failed_steps": done.num_failed_steps,
        "rows": sum(1 for _ in (folder / "rows.jsonl").open("rb")),
        "load_average": round(os.getloadavg()[0], 2),
        "wall_s": round(wall_s, 2),
        "runner_s": round(outside_s, 3),
        "runner_share": round(outside_s / wall_s, 4),
        "cpu_s": round(cpu_s, 2),
        "runner_cpu_share": round((cpu_s - clock.cpu_s) / cpu_s, 4),
        "of_it_s": {name: round(seconds, 3) for name, seconds in sorted(own.seconds.items())},
        "inside_s": {name: round(seconds, 3) for name, seconds in sorted(clock.seconds.items())},
    }


def _overrides(given: argparse.Namespace) -> list[str]:
    schedule: Any = "single"
    if given.schedule == "lifelong":
        checkpoints = [point for point in _CHECKPOINTS if point <= given.edits]
        schedule = {"name": "lifelong", "checkpoints": checkpoints, "sample": given.sample, "orders": 1}
    return [
        f"model={given.model}",
        f"benchmark={given.benchmark}",
        f"benchmark.limit={given.edits}",
        f"methods=[{given.method}]",
        f"schedule={json.dumps(schedule)}",
    ]


def _watch_editors(clock: _Clock) -> None:
    """Time what editors do, and what the edited models they return are asked."""
    create = work.create_editor

    def create_watched(*arguments: Any, **settings: Any) -> Any:
        editor: Any = create(*arguments, **settings)
        apply = clock.timed("method.apply", editor.apply)

        def apply_watched(*arguments: Any, **settings: Any) -> Any:
            edited = apply(*arguments, **settings)
            clock.watch(edited, "edited", _OF_THE_EDITED_MODEL)
            return edited

        editor.apply = apply_watched
        return editor

    work.create_editor = create_watched


if __name__ == "__main__":
    main()
