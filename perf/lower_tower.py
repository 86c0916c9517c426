"""How much it saves to compute the tower below what is trained once for a picture, in one run.

The comparison is the same editor and the same steps with the whole tower run at every step. The model is a Qwen2-VL of
random weights with a tower as deep as those of its releases, 32 layers, four text layers and a quarter of the widths;
a picture is 391 tokens, 1,564 in the tower. Pictures are opened and made ready at every step on both sides.

    python perf/lower_tower.py
    python perf/lower_tower.py --steps 10 --layers 28

Prints one JSON object. Seconds are of one edit; ratios the median over edits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench_world import build_large_picture_checkpoint, visual_edits

from reground.edits.records import Edit
from reground.methods.chain_target import edit_query
from reground.methods.lower_tower import LowerTower
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel, load_hf_model

_WIDTH = 384
_TEXT: dict[str, Any] = {
    "intermediate_size": 2240,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
}
_TOWER: dict[str, Any] = {"embed_dim": 320, "mlp_ratio": 4, "num_heads": 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=2, help="visual edits to time")
    parser.add_argument("--steps", type=int, default=5, help="training steps of an edit")
    parser.add_argument("--layers", type=int, default=4, help="text layers of the model")
    parser.add_argument("--tower-layers", type=int, default=32, help="layers of its vision tower")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        built = build_large_picture_checkpoint(
            folder / "model",
            _WIDTH,
            vision_settings={**_TOWER, "depth": given.tower_layers},
            num_hidden_layers=given.layers,
            **_TEXT,
        )
        model = load_hf_model(str(built), device="cpu")
        edits = [edit for edit, _ in visual_edits(folder, given.edits, "phantom")]
        rows = [_compared(model, edits, method, given.steps) for method in ("ft-vision", "ft-projector")]
    result = {
        "model": f"qwen2_vl of width {_WIDTH}, {given.layers} layers, a tower of {given.tower_layers}",
        "num_edits": len(edits),
        "num_steps": given.steps,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))


def _compared(model: HfModel, edits: list[Edit], method: str, num_steps: int) -> dict[str, Any]:
    editor = create_editor(method, {"num_steps": num_steps, "loss_floor": 1e-30})

    def timed(edit: Edit, around: AbstractContextManager[Any]) -> tuple[float, str]:
        with around:
            started = time.perf_counter()
            edited = editor.apply(model, [edit])
            seconds = time.perf_counter() - started
        with edited:
            return seconds, edited.fingerprint([edit_query(edit)])

    timed(edits[0], nullcontext())
    ours, plain = [], []
    for edit in edits:
        ours.append(timed(edit, nullcontext()))
        plain.append(timed(edit, _whole_tower_each_step()))
    if any(mine[1] != theirs[1] for mine, theirs in zip(ours, plain, strict=True)):
        raise SystemExit(f"{method}: the edits differ.")
    return {
        "method": method,
        "ours_s": round(statistics.median(mine[0] for mine in ours), 2),
        "plain_s": round(statistics.median(theirs[0] for theirs in plain), 2),
        "times_faster": round(statistics.median(b[0] / a[0] for a, b in zip(ours, plain, strict=True)), 2),
    }


def _whole_tower_each_step() -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(mock.patch.object(LowerTower, "in_force", lambda _: nullcontext()))
    stack.enter_context(mock.patch.object(LowerTower, "batch", lambda _, make: make()))
    return stack


if __name__ == "__main__":
    main()
