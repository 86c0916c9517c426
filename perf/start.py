"""From the start of a process to the first token: reground against ``transformers`` alone, each in fresh processes.

    python perf/start.py
    python perf/start.py --model path/to/checkpoint --repeats 5

Both sides import what they need, load the same checkpoint from disk with its processor, prepare one picture and one
question and write one token. They take turns. Prints one JSON object with the seconds of every process, the best of
each side, and what reground adds; ends with 1 if that is more than ``--limit-s``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_SIDES: Mapping[str, str] = {
    "reground": """
import sys
from reground.edits.records import ImageRef
from reground.models.base import Query
from reground.models.registry import load_model
model = load_model(f"hf:{sys.argv[1]}", device="cpu")
query = Query(question="which condition does this image show?", image=ImageRef(frames=(sys.argv[2],)))
((output,),) = model.generate([query], max_new_tokens=1)
assert output.num_tokens <= 1
""",
    "plain": """
import sys
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1]).eval()
content = [{"type": "image"}, {"type": "text", "text": "which condition does this image show?"}]
prompt = processor.apply_chat_template(
    [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
)
with Image.open(sys.argv[2]) as picture:
    inputs = processor(text=[prompt], images=[[picture.convert("RGB")]], return_tensors="pt")
with torch.no_grad():
    ids = model.generate(**inputs, max_new_tokens=1, do_sample=False)
assert ids.shape[1] == inputs["input_ids"].shape[1] + 1
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint folder that AutoProcessor loads; a tiny random LLaVA if absent")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side")
    parser.add_argument("--limit-s", type=float, default=1.0, help="seconds that reground may add")
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
    cpu_seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or _tiny_checkpoint(Path(scratch) / "model")
        picture = Path(scratch) / "picture.png"
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
        for _ in range(given.repeats):
            for side, script in _SIDES.items():
                wall_s, cpu_s = _timed(script, [folder, str(picture)])
                seconds[side].append(wall_s)
                cpu_seconds[side].append(cpu_s)
    added_s = min(seconds["reground"]) - min(seconds["plain"])
    result: dict[str, Any] = {
        "model": given.model or "tiny random llava",
        "load_average": round(os.getloadavg()[0], 2),
        **{f"{side}_s": [round(one, 2) for one in runs] for side, runs in seconds.items()},
        **{f"{side}_cpu_s": [round(one, 2) for one in runs] for side, runs in cpu_seconds.items()},
        "added_s": round(added_s, 2),
        "added_cpu_s": round(min(cpu_seconds["reground"]) - min(cpu_seconds["plain"]), 2),
    }
    print(json.dumps(result, indent=2))
    sys.exit(1 if added_s > given.limit_s else 0)


def _tiny_checkpoint(folder: Path) -> str:
    from reground.models.hf.tiny import build_tiny_checkpoint

    return str(build_tiny_checkpoint(folder, "llava"))


def _timed(script: str, arguments: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a fresh Python takes for a script."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    before = os.times()
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, env=environment)
    wall_s = time.perf_counter() - start
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_s, spent


if __name__ == "__main__":
    main()
