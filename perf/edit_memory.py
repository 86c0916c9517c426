"""What an edit takes of memory on a model of real width, beside what its weights and its optimiser take.

    python perf/edit_memory.py
    python perf/edit_memory.py --method rome --layers 28 --steps 1
    python perf/edit_memory.py --method ft-vision --picture 320 240

The model is a Qwen2-VL with the widths of its release of 2 billion parameters, tower included, random weights, fewer
layers unless asked for and a tiny vocabulary; a picture is 391 tokens, 1,564 in the tower. Each method makes two edits,
each undone before the next, and the second counts: what is made once, such as the statistics of a corpus, is there.
Each encodes its picture. The bound is twice the weights that the edit acts on, and the two moments that Adam keeps of
each number it trains: a method that copied the model, or a matrix as wide as a layer, would be far above it. What
answering the same prompt takes, a pass forward, is told beside it. ``alphaedit`` finds its principal directions first,
once for a corpus, which takes most of this script's time.

Prints one JSON object, in MB; ends with 1 if a method takes more than its bound.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench_world import PICTURE_SIZE, build_large_picture_checkpoint, visual_edits

from reground.edits.records import Edit, Probe
from reground.methods.artifact import FitData, FitSample
from reground.methods.chain_target import edit_query
from reground.methods.cost import measured_on
from reground.methods.mend.config import MendFitConfig
from reground.methods.mend.fit import fit_mend
from reground.methods.registry import create_editor
from reground.methods.weight_edit import num_bytes
from reground.methods.wise.config import WiseConfig
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.hf.allocator import give_back_when_freed

_WIDTH = 1536
_TEXT: dict[str, Any] = {
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "initializer_range": 0.02,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
_TOWER: dict[str, Any] = {"embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "initializer_range": 0.02}
#: What the updates of closed forms are to spare; few words, as only the size of the statistics matters here.
_CORPUS = [f"which drug comes first for a ring in organ {number} of the image?" for number in range(24)]
_CLOSED_FORM = ("rome", "memit", "alphaedit")


def _down_projection(model: HfModel) -> int:
    return num_bytes(model.layer_parameters(0, "mlp.down_proj"))


def _queries_and_values(model: HfModel) -> int:
    layers = range(len(model.text_layers))
    return sum(num_bytes(model.layer_parameters(layer, f"self_attn.{name}_proj")) for layer in layers for name in "qv")


_METHODS = ["ft", "ft-l", "ft-vision", "ft-projector", "lora", "grace", "wise", "mend", "rome", "memit", "alphaedit"]
#: Of methods that change no weight in place, bytes of those that they stand beside.
_BESIDE: dict[str, Callable[[HfModel], int]] = {
    "lora": _queries_and_values,
    "grace": _down_projection,
    "wise": _down_projection,
}
#: Which share of what they change methods train with Adam; the others train a vector, or nothing.
_TRAINED_SHARE = {
    **dict.fromkeys(("ft", "ft-l", "ft-vision", "ft-projector", "lora"), 1.0),
    "wise": WiseConfig().mask_share,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", default=[], choices=_METHODS, help="repeat for several")
    parser.add_argument("--layers", type=int, default=6, help="text layers of the model")
    parser.add_argument("--tower-layers", type=int, default=2, help="layers of its vision tower")
    parser.add_argument("--steps", type=int, default=3, help="training steps of an edit")
    parser.add_argument("--picture", type=int, nargs=2, default=PICTURE_SIZE, help="width and height in pixels")
    given = parser.parse_args()
    give_back_when_freed()  # the checkpoint is made in this very process, and would leave holes that a user's has not
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "corpus.txt").write_text("\n".join(_CORPUS) + "\n", encoding="utf-8")
        built = build_large_picture_checkpoint(
            folder / "model",
            _WIDTH,
            vision_settings={**_TOWER, "depth": given.tower_layers},
            num_hidden_layers=given.layers,
            **_TEXT,
        )
        model = load_hf_model(str(built), device="cpu")
        asked = list(visual_edits(folder, 2, "phantom", tuple(given.picture)))
        answering = _answering(model, asked[1][0])
        rows = []
        for name in given.method or _METHODS:
            rows.append(_measured(model, name, asked, given.steps, folder))
            print(f"{rows[-1]['method']}: {rows[-1]['peak_mb']} of {rows[-1]['bound_mb']} MB", file=sys.stderr)
    result = {
        "model": f"qwen2_vl of width {_WIDTH}, {given.layers} layers, a tower of {given.tower_layers}",
        "picture": list(given.picture),
        "weights_mb": _in_mb(num_bytes(dict(model.module.named_parameters()))),
        "answering_mb": answering,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    sys.exit(1 if any(row["peak_mb"] > row["bound_mb"] for row in rows) else 0)


def _answering(model: HfModel, edit: Edit) -> float:
    """What a pass over an edit's prompt and answer takes, the second time."""
    for _ in range(2):
        with measured_on(model) as meter:
            model.score([edit_query(edit)], [edit.new_answer.text])
    assert meter.peak_bytes is not None
    return _in_mb(meter.peak_bytes)


def _measured(
    model: HfModel, method: str, asked: Sequence[tuple[Edit, list[Probe]]], num_steps: int, folder: Path
) -> dict[str, Any]:
    settings: dict[str, Any] = {"num_steps": num_steps}
    if method in _CLOSED_FORM:
        settings |= {"corpus": str(folder / "corpus.txt"), "num_texts": len(_CORPUS)}
    elif method == "mend":
        settings = {"artifact": str(_fitted_mend(model, asked, folder))}
    editor = create_editor(method, settings)
    for edit, _ in asked:
        model.invalidate_images()
        with editor.apply(model, [edit]) as edited:
            cost = edited.cost
    changed = model.module.dtype.itemsize * cost.num_changed_parameters
    weights = _BESIDE[method](model) if method in _BESIDE else changed
    trained = num_bytes({"vector": model.module.get_input_embeddings().weight[0]})
    if method in _TRAINED_SHARE:
        trained = round(_TRAINED_SHARE[method] * changed)
    assert cost.peak_bytes is not None
    return {
        "method": method,
        "weights_mb": _in_mb(weights),
        "trained_mb": _in_mb(trained),
        "bound_mb": _in_mb(2 * weights + 2 * trained),
        "peak_mb": _in_mb(cost.peak_bytes),
    }


def _fitted_mend(model: HfModel, asked: Sequence[tuple[Edit, list[Probe]]], folder: Path) -> Path:
    """An artifact after a single step: what an edit takes does not hang on what was learned."""
    samples = []
    for edit, probes in asked:
        by_kind = {(probe.kind, probe.expectation.kind): probe for probe in probes}
        kept = [
            by_kind["generality", "answer"],
            next(probe for probe in probes if probe.expectation.kind == "unchanged"),
        ]
        samples.append(FitSample(edit=edit, probes=tuple(kept)))
    data = FitData(
        benchmark="one step",
        version="1",
        checksum="none",
        split="first",
        validation_split="second",
        scored_splits=(),
        training=tuple(samples[:1]),
        validation=tuple(samples[1:]),
    )
    config = MendFitConfig(num_steps=1, batch_size=1, num_validation=1, num_in_scope=1, num_locality=1)
    fit_mend(model, data, config, folder / "mend", method="mend")
    return folder / "mend"


def _in_mb(count: int) -> float:
    return round(count / 1e6, 2)


if __name__ == "__main__":
    main()
