"""What settings of a method do to edits of the tuning split of the built-in world, each edit on its own.

    python perf/tuning_sweep.py ft --edits 24 learning_rate=1e-3,3e-3
    python perf/tuning_sweep.py memit --edits 8 corpus_weight=10,100,1000

Prints a Markdown table with one row for each combination: the teacher-forced score on the exact probe (all edits,
textual, visual) and on generality probes, and the shares of near and far locality probes whose output, to the letter,
is as before. The value a closed-form method writes does not depend on how it is written; where two rows agree on the
direction it is found under, it is found once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import Edit, Probe
from reground.methods.base import Editor
from reground.methods.closed_form import value
from reground.methods.registry import METHODS, create_editor
from reground.models.base import probe_query
from reground.models.hf.adapter import HfModel
from reground.models.registry import load_model

#: Settings that a value depends on through its direction alone.
_HOW_IT_IS_WRITTEN = {"corpus_weight", "threshold", "ridge", "layers"}
_COLUMNS = ("exact", "textual", "visual", "generality", "near", "far")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=sorted(METHODS))
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE,VALUE", help="what is tried; lists as 0+1")
    parser.add_argument("--edits", type=int, default=8, help="edits of the tuning split")
    parser.add_argument("--local", type=int, default=6, help="locality probes of each edit, spread over all levels")
    given = parser.parse_intermixed_args()
    grid = dict(_choices(words) for words in given.settings)
    model = load_model("phantom-med", device="cpu")
    assert isinstance(model, HfModel)
    benchmark = PhantomBenchmark()
    edits = benchmark.edits("calibration", given.edits)
    probes = [_asked(benchmark.probes(edit), given.local) for edit in edits]
    before = [_texts(model, local) for _, local in probes]
    print(f"| {' | '.join([*grid, *_COLUMNS, 's'])} |\n|{'---|' * (len(grid) + len(_COLUMNS) + 1)}", flush=True)
    with mock.patch("reground.methods.closed_form.batch.value_shift", _remembered(value.value_shift)):
        for chosen in itertools.product(*grid.values()):
            editor = create_editor(given.method, dict(zip(grid, chosen, strict=True)))
            row = _measured(editor, model, edits, probes, before)
            print(f"| {' | '.join(map(str, [*chosen, *row]))} |", flush=True)


def _choices(words: str) -> tuple[str, list[Any]]:
    name, _, values = words.partition("=")
    return name, [[*map(int, text.split("+"))] if name == "layers" else json.loads(text) for text in values.split(",")]


def _asked(probes: Sequence[Probe], num_local: int) -> tuple[list[Probe], list[Probe]]:
    """Probes of the fact itself, and of what should stay: one of each level in turn."""
    same = [probe for probe in probes if probe.kind in ("reliability", "generality")]
    levels: dict[str, list[Probe]] = {}
    for probe in probes:
        if probe.is_local:
            levels.setdefault(probe.level, []).append(probe)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*levels.values()))
    return same, [probe for probe in turns if probe is not None][:num_local]


def _texts(model: Any, probes: Sequence[Probe]) -> list[str]:
    return [outputs[0].text for outputs in model.generate([probe_query(probe) for probe in probes], max_new_tokens=64)]


def _remembered(find: Callable[..., Any]) -> Callable[..., Any]:
    """``value_shift`` that finds the value of a request under one direction only once."""
    found: dict[Any, Any] = {}

    def value_shift(
        model: HfModel, request: value.Request, path: str, direction_I: torch.Tensor, config: Any
    ) -> tuple[torch.Tensor, value.ValueReport]:
        rounded = tuple((direction_I / direction_I.norm()).mul(1e4).round().int().tolist())
        key = request.queries, path, rounded, config.model_dump_json(exclude=_HOW_IT_IS_WRITTEN)
        if key not in found:
            found[key] = find(model, request, path, direction_I, config)
        return found[key]  # type: ignore[no-any-return]

    return value_shift


def _measured(
    editor: Editor,
    model: HfModel,
    edits: Sequence[Edit],
    probes: Sequence[tuple[list[Probe], list[Probe]]],
    before: Sequence[list[str]],
) -> list[str]:
    """One row of the table: means, and the seconds that applying one edit took."""
    values: dict[str, list[float]] = {column: [] for column in _COLUMNS}
    apply_s = 0.0
    for edit, (same, local), expected in zip(edits, probes, before, strict=True):
        with editor.apply(model, [edit]) as edited:
            scores = edited.score([probe_query(probe) for probe in same], [_wanted(probe) for probe in same])
            texts = _texts(edited, local)
        apply_s += edited.cost.apply_s
        for probe, score in zip(same, scores, strict=True):
            columns = ["exact", edit.modality] if probe.kind == "reliability" else ["generality"]
            for column in columns:
                values[column].append(score.top1_share)
        for probe, text, old in zip(local, texts, expected, strict=True):
            values[probe.distance or "far"].append(text == old)
    means = [f"{sum(found) / len(found):.3f}" if found else "-" for found in values.values()]
    return [*means, f"{apply_s / len(edits):.1f}"]


def _wanted(probe: Probe) -> str:
    assert probe.expectation.answer is not None
    return probe.expectation.answer.text


if __name__ == "__main__":
    main()
