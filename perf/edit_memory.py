"""What an edit takes of memory on a model of real width, beside what its weights and its optimiser take.

    python perf/edit_memory.py
    python perf/edit_memory.py --method ft --method rome --layers 7

The model is a Qwen2-VL with the widths of its release of 2 billion parameters, random weights, fewer layers and a tiny
vocabulary; a picture is 391 tokens. Each method makes two edits, each undone before the next, and the second counts:
what is made once, such as the statistics of a corpus, is there. The bound is twice the weights that the edit acts on,
and the two moments that Adam keeps of each number it trains: a method that copied the model, or a matrix as wide as a
layer, would be far above it. What answering the same prompt takes, a pass forward, is told beside it: an edit runs the
model too. ``alphaedit`` is left out: it reads its statistics as ``memit`` does, but to find its principal directions,
once for a corpus, takes many minutes at this width.

Prints one JSON object, in MB; ends with 1 if a method takes more than its bound and such a pass together.
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

from bench_world import build_large_picture_checkpoint, visual_edits

from reground.edits.records import Edit
from reground.methods.chain_target import edit_query
from reground.methods.cost import measured_on
from reground.methods.registry import create_editor
from reground.methods.weight_edit import num_bytes
from reground.models.hf.adapter import HfModel, load_hf_model

_WIDTH = 1536
_TEXT: dict[str, Any] = {
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "initializer_range": 0.02,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
#: What their updates are to spare; few words, as only the size of the statistics matters here.
_CORPUS = [f"which drug comes first for a ring in organ {number} of the image?" for number in range(24)]
_CLOSED_FORM = ("rome", "memit")


def _bytes_of(model: HfModel, layer: int, part: str) -> int:
    return num_bytes({"weight": model.module.get_submodule(model.layer_path(layer, part)).get_parameter("weight")})


def _down_projection(model: HfModel) -> int:
    return _bytes_of(model, 0, "mlp.down_proj")


def _queries_and_values(model: HfModel) -> int:
    layers = range(len(model.text_layers))
    return sum(_bytes_of(model, layer, f"self_attn.{name}_proj") for layer in layers for name in "qv")


#: By method: bytes of the weights that its edit acts on.
_WEIGHTS: dict[str, Callable[[HfModel], int]] = {
    "ft": _down_projection,
    "ft-l": _down_projection,
    "lora": _queries_and_values,
    "grace": _down_projection,
    "wise": _down_projection,
    "rome": _down_projection,
    "memit": _down_projection,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", default=[], choices=_WEIGHTS, help="repeat for several")
    parser.add_argument("--layers", type=int, default=4, help="text layers of the model; fewer than 8")
    parser.add_argument("--steps", type=int, default=3, help="training steps of an edit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "corpus.txt").write_text("\n".join(_CORPUS) + "\n", encoding="utf-8")
        built = build_large_picture_checkpoint(folder / "model", _WIDTH, num_hidden_layers=given.layers, **_TEXT)
        model = load_hf_model(str(built), device="cpu")
        edits = [edit for edit, _ in visual_edits(folder, 2, "phantom")]
        answering = _answering(model, edits[1])
        rows = []
        for name in given.method or _WEIGHTS:
            rows.append(_measured(model, name, edits, given.steps, folder))
            print(f"{rows[-1]['method']}: {rows[-1]['peak_mb']} of {rows[-1]['bound_mb']} MB", file=sys.stderr)
    result = {
        "model": f"qwen2_vl of width {_WIDTH}, {given.layers} layers",
        "weights_mb": _in_mb(num_bytes(dict(model.module.named_parameters()))),
        "answering_mb": answering,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    sys.exit(1 if any(row["peak_mb"] > row["bound_mb"] + answering for row in rows) else 0)


def _answering(model: HfModel, edit: Edit) -> float:
    """What a pass over an edit's prompt and answer takes, the second time."""
    for _ in range(2):
        with measured_on(model) as meter:
            model.score([edit_query(edit)], [edit.new_answer.text])
    assert meter.peak_bytes is not None
    return _in_mb(meter.peak_bytes)


def _measured(model: HfModel, method: str, edits: Sequence[Edit], num_steps: int, folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {"num_steps": num_steps}
    if method in _CLOSED_FORM:
        settings |= {"corpus": str(folder / "corpus.txt"), "num_texts": len(_CORPUS)}
    editor = create_editor(method, settings)
    for edit in edits:
        with editor.apply(model, [edit]) as edited:
            cost = edited.cost
    trained = num_bytes({"vector": model.module.get_input_embeddings().weight[0]})
    if method not in ("grace", *_CLOSED_FORM):  # these train one vector
        trained = model.module.dtype.itemsize * cost.num_changed_parameters
    weights = _WEIGHTS[method](model)
    assert cost.peak_bytes is not None
    return {
        "method": method,
        "weights_mb": _in_mb(weights),
        "trained_mb": _in_mb(trained),
        "bound_mb": _in_mb(2 * weights + 2 * trained),
        "peak_mb": _in_mb(cost.peak_bytes),
    }


def _in_mb(count: int) -> float:
    return round(count / 1e6, 2)


if __name__ == "__main__":
    main()
