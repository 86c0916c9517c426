"""How much it saves to compute image features and lower layers once for an edit, in one run.

The comparison is the plain loop: the same editor, the same steps, but every step runs the vision tower and the whole
text model again, logits of every column included, as published ports do: on the edit, and for ``wise`` on its
irrelevant prompts (whose image features stay; the picture's pixels are prepared once in both). Both reach the same
loss.

    python perf/upper_layers.py                        phantom-med, edits of the tuning split, as they are applied
    python perf/upper_layers.py --edits 4 --steps 20   every edit takes so many steps

Prints one JSON object. Seconds are the best of the repeats; ``cpu_s`` is the process's own time, which is what counts
on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.images import open_image
from reground.edits.records import Edit
from reground.methods.registry import create_editor
from reground.methods.training_step import label_loss, num_completion_columns
from reground.methods.upper_layers import recorded
from reground.methods.wise import editor as wise
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, prompt_tokens
from reground.models.registry import load_model

#: Method, and settings that name where it edits.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("ft", {}),
    ("ft", {"modules": ["mlp"]}),
    ("ft", {"layers": [-2]}),
    ("ft-l", {}),
    ("grace", {}),
    ("grace", {"replacement": "last"}),
    ("grace", {"layer": 1}),
    ("wise", {}),
    ("wise", {"statistic": "mean"}),
    ("wise", {"layer": -2}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=3, help="visual edits to time")
    parser.add_argument(
        "--steps", type=int, help="training steps for each edit; as many as the method takes if not given"
    )
    parser.add_argument("--repeats", type=int, default=2, help="the best of this many runs counts")
    given = parser.parse_args()
    model = load_model("phantom-med", device="cpu")
    assert isinstance(model, HfModel)
    every = PhantomBenchmark().edits("calibration", 8 * given.edits)
    edits = [edit for edit in every if edit.image is not None][: given.edits]
    rows = [_compared(model, edits, name, settings, given.steps, given.repeats) for name, settings in CASES]
    result = {
        "model": model.info.name,
        "text_layers": len(model.text_layers),
        "threads": torch.get_num_threads(),
        "num_edits": len(edits),
        "rows": rows,
    }
    print(json.dumps(result, indent=2))


def _compared(
    model: HfModel, edits: list[Edit], name: str, settings: Mapping[str, Any], num_steps: int | None, repeats: int
) -> dict[str, Any]:
    # A floor of 0 is not accepted of fine-tuning, and no loss falls below this one.
    steps = {} if num_steps is None else {"num_steps": num_steps, "loss_floor": 1e-30}
    editor = create_editor(name, {**settings, **steps})
    upper, plain = [], []
    gaps = []
    for edit in edits:

        def apply(edit: Edit = edit) -> tuple[int, float]:
            with editor.apply(model, [edit]) as edited:
                details = edited.details  # type: ignore[attr-defined]
                training = (details.get("places") or [details])[0]["training"]
                return int(training["num_steps"]), float(training["last_loss"])

        ours = _best(apply, repeats)
        with _whole_model_each_step(model, edit):
            theirs = _best(apply, repeats)
        if ours["num_steps"] != theirs["num_steps"]:
            raise SystemExit(f"{name} took {ours['num_steps']:.0f} steps against {theirs['num_steps']:.0f}.")
        upper.append(ours)
        plain.append(theirs)
        gaps.append(abs(ours["loss"] - theirs["loss"]))
    return {
        "method": name,
        "settings": dict(settings),
        "num_steps": statistics.median(run["num_steps"] for run in upper),
        **{f"upper_{key}": round(statistics.median(run[key] for run in upper), 4) for key in ("wall_s", "cpu_s")},
        **{f"plain_{key}": round(statistics.median(run[key] for run in plain), 4) for key in ("wall_s", "cpu_s")},
        **{
            f"times_faster_{key.removesuffix('_s')}": round(
                statistics.median(p[key] / u[key] for p, u in zip(plain, upper, strict=True)), 2
            )
            for key in ("wall_s", "cpu_s")
        },
        "largest_loss_gap": max(gaps),
    }


def _best(apply: Callable[[], tuple[int, float]], repeats: int) -> dict[str, float]:
    runs = []
    for _ in range(repeats):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        num_steps, loss = apply()
        seconds = {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
        runs.append({**seconds, "num_steps": num_steps, "loss": loss})
    return {key: min(run[key] for run in runs) for key in runs[0]}


class WholeModel:
    """In the place of ``UpperLayers``: the tower and the whole text model at every call."""

    processed: Any = None

    def __init__(
        self,
        model: HfModel,
        layer: int,
        batch: Mapping[str, torch.Tensor],
        *,
        part: str = "",
        first_column: int = 0,
    ) -> None:
        self._model = model
        self._batch = batch
        with torch.no_grad():
            self.loss()

    @property
    def prompt_BC(self) -> torch.Tensor:
        return prompt_tokens(self._batch)

    def starts_at(self, _: str) -> bool:
        return False

    def logits(self) -> torch.Tensor:
        with torch.no_grad():
            self._model.family.encode(self._model.module, self._model.processor, self.processed)
        inputs = {name: tensor for name, tensor in self._batch.items() if name != "labels"}
        with self._model.passing(self.prompt_BC):
            logits_BTV: torch.Tensor = self._model.module(**inputs, use_cache=False, return_dict=True).logits
        return logits_BTV[:, -num_completion_columns(self._batch) - 1 :]

    def loss(self) -> torch.Tensor:
        return label_loss(self.logits(), self._batch)


class WholePlace(wise._Place):
    """In the place of where ``wise`` edits: irrelevant prompts run through the whole text model at every call."""

    def prompts(self, queries: Sequence[Query]) -> wise._Prompts:
        found = super().prompts(queries)
        RERUN[id(found)] = self.model.training_batch(queries, ["yes"] * len(queries))
        return found

    def activated(self, prompts: wise._Prompts, weight_HF: torch.Tensor) -> torch.Tensor:
        batch = RERUN.get(id(prompts))
        if batch is None:  # an edit's own prompt, which has just been run
            return super().activated(prompts, weight_HF)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        prompt_BT = prompt_tokens(batch)
        with torch.no_grad(), recorded(self.model, self.path) as record, self.model.passing(prompt_BT):
            self.model.module(**inputs, use_cache=False, logits_to_keep=1, return_dict=True)
        again = wise._Prompts(*record.tensors, prompt_BT).read_by(self.config.statistic)
        # What came out is the side memory's: it is in force while it is trained.
        return super().activated(replace(again, main_BTH=prompts.main_BTH), weight_HF)


#: Batches of irrelevant prompts, by what was kept of their first pass.
RERUN: dict[int, Mapping[str, torch.Tensor]] = {}


@contextmanager
def _whole_model_each_step(model: HfModel, edit: Edit) -> Iterator[None]:
    assert edit.image is not None
    (picture,) = open_image(edit.image)
    with (
        mock.patch("reground.methods.completion_training.UpperLayers", WholeModel),
        mock.patch("reground.methods.grace.editor.UpperLayers", WholeModel),
        mock.patch("reground.methods.wise.editor.UpperLayers", WholeModel),
        mock.patch("reground.methods.wise.editor._Place", WholePlace),
        mock.patch.object(WholeModel, "processed", model.family.process(model.processor, picture, 1)),
    ):
        yield


if __name__ == "__main__":
    main()
