"""Memory of the process over many edits in a row, each put in force, asked about and undone.

    python perf/memory.py
    python perf/memory.py --edits 1000 --method ft --method grace --method prompt --growth-mib 200

The model is a tiny Qwen2-VL with random weights; each edit has a picture of its own, so nothing but what the process
forgets can keep its memory flat. Prints one JSON object: the resident memory in MiB by number of edits for each method,
and the growth from the 50th edit to the highest value after it. Ends with 1 if that is more than ``--growth-mib``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_world import resident_bytes

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from reground.edits.records import Answer, Edit, ImageRef
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.hf.tiny import build_tiny_checkpoint

#: Edits after which what is loaded once has been loaded.
_SETTLED = 50
_SETTINGS: Mapping[str, dict[str, Any]] = {"prompt": {}, "none": {}, "ike": {}}
_FEW_STEPS: dict[str, Any] = {"num_steps": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=1000, help="edits of each method")
    parser.add_argument("--method", action="append", default=[], help="editing method; repeat for several")
    parser.add_argument("--cache-mib", type=int, default=4, help="image features that the model may keep")
    parser.add_argument("--growth-mib", type=float, default=200.0, help="growth after the 50th edit that is let pass")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = build_tiny_checkpoint(Path(scratch) / "model", "qwen2_vl")
        model = load_hf_model(str(folder), device="cpu", image_cache_bytes=given.cache_mib << 20)
        rows = [
            _measured(model, name, given.edits, Path(scratch)) for name in given.method or ["ft", "grace", "prompt"]
        ]
    result = {"model": "tiny random qwen2_vl", "num_edits": given.edits, "limit_mib": given.growth_mib, "rows": rows}
    print(json.dumps(result, indent=2))
    sys.exit(1 if any(row["growth_mib"] > given.growth_mib for row in rows) else 0)


def _measured(model: HfModel, method: str, num_edits: int, folder: Path) -> dict[str, Any]:
    editor = create_editor(method, _SETTINGS.get(method, _FEW_STEPS))
    every = max(1, num_edits // 20)
    resident: dict[int, float] = {}
    for number in range(1, num_edits + 1):
        edit = _edit(number, folder)
        queries = [Query(question=edit.question, image=edit.image), Query(question=f"what is it? {number}")]
        with editor.apply(model, [edit]) as edited:
            edited.generate(queries, max_new_tokens=4)
        if number in (_SETTLED, num_edits) or number % every == 0:
            resident[number] = round(resident_bytes() / (1 << 20), 1)
    settled = {count: mib for count, mib in resident.items() if count >= min(_SETTLED, num_edits)}
    return {
        "method": method,
        "growth_mib": round(max(settled.values()) - settled[min(settled)], 1),
        "resident_mib": resident,
    }


def _edit(number: int, folder: Path) -> Edit:
    path = folder / "picture.png"
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return Edit(
        subject=f"ring {number}",
        relation="condition",
        modality="visual",
        question=f"which condition does image {number} show?",
        image=ImageRef(frames=(str(path),)),
        new_answer=Answer(text=f"drantic fever {number}"),
        prior_answer=Answer(text="velmora syndrome"),
        statement=f"a ring {number} means drantic fever {number}.",
    )


if __name__ == "__main__":
    main()
