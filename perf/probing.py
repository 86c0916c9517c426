"""Probing one edit: all its probes before and after, against a plain loop over the probes, in one run.

The plain loop is what one writes with ``transformers`` alone: for each probe, open the picture, call the processor,
call ``generate`` on a batch of one, so that the tower runs every time. Model, weights, prompts, token budget and
threads are the same, and so must be every output. The model is a tiny Qwen2-VL with random weights that takes
640x480 pictures as published checkpoints do, 391 tokens each; the edits and their probes are those of the built-in
world, its pictures drawn out to that size.

    python perf/probing.py
    python perf/probing.py --edits 3 --tokens 96 --threads 2

Prints one JSON object, and ends with 1 if an output differs. Putting the edit in force is timed on neither side;
the process's own time stands beside the clock's, as it is what counts on a machine that is busy with something
else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_world import PICTURE_SIZE, build_large_picture_checkpoint, visual_edits

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from reground.edits.images import image_key, open_image
from reground.edits.records import Edit, Probe
from reground.methods.registry import create_editor
from reground.models.base import Query, probe_query
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.hf.image_cache import ImageCache
from reground.models.prompts import prompt_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="reasonedit", help="suite of the built-in world whose probes are put")
    parser.add_argument("--edits", type=int, default=3, help="edits to probe, each on its own")
    parser.add_argument("--tokens", type=int, default=96, help="tokens per answer")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch, on both sides")
    parser.add_argument("--method", default="ft", help="editing method that changes weights of the text model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = load_hf_model(str(build_large_picture_checkpoint(Path(scratch) / "model")), device="cpu")
        torch.set_num_threads(given.threads)
        edits = list(visual_edits(Path(scratch), given.edits, given.benchmark))
        _warm_up(model, [probe_query(probe) for probe in edits[0][1]])
        rows = [_compared(model, edit, probes, given.method, given.tokens) for edit, probes in edits]
    result = {
        "model": "tiny random qwen2_vl",
        "picture": "x".join(map(str, PICTURE_SIZE)),
        "benchmark": given.benchmark,
        "method": given.method,
        "max_new_tokens": given.tokens,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "edits": rows,
        "times_faster": _ratio(rows, "s"),
        "times_less_cpu": _ratio(rows, "cpu_s"),
        "outputs_are_equal": all(row["num_different"] == 0 for row in rows),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["outputs_are_equal"] else 1)


def _ratio(rows: Sequence[dict[str, Any]], unit: str) -> float:
    plain, ours = (sum(row[f"{name}_{unit}"] for row in rows) for name in ("plain", "reground"))
    return round(plain / ours, 2)


def _compared(model: HfModel, edit: Edit, probes: Sequence[Probe], method: str, num_tokens: int) -> dict[str, Any]:
    queries = [probe_query(probe) for probe in probes]
    model.images = ImageCache(model.images.max_bytes)
    editor = create_editor(method, {"num_steps": 3})

    def together() -> list[str]:
        return [outputs[0].text for outputs in model.generate(queries, max_new_tokens=num_tokens)]

    def one_by_one() -> list[str]:
        return [_plain_answer(model, query, num_tokens) for query in queries]

    seconds = {"reground": 0.0, "plain": 0.0}
    cpu_seconds = {"reground": 0.0, "plain": 0.0}
    passes = {"reground": 0, "plain": 0}
    texts: dict[str, list[str]] = {"reground": [], "plain": []}

    def measure(name: str, ask: Callable[[], list[str]]) -> None:
        with _tower_passes(model) as counted:
            start, cpu_start = time.perf_counter(), time.process_time()
            texts[name] += ask()
            seconds[name] += time.perf_counter() - start
            cpu_seconds[name] += time.process_time() - cpu_start
        passes[name] += len(counted)

    measure("reground", together)
    measure("plain", one_by_one)
    with editor.apply(model, [edit]):
        measure("reground", together)
        measure("plain", one_by_one)
    return {
        "num_probes": len(probes),
        "num_images": len({image_key(query.image) for query in queries if query.image is not None}),
        "reground_s": round(seconds["reground"], 3),
        "plain_s": round(seconds["plain"], 3),
        "times_faster": round(seconds["plain"] / seconds["reground"], 2),
        "reground_cpu_s": round(cpu_seconds["reground"], 3),
        "plain_cpu_s": round(cpu_seconds["plain"], 3),
        "reground_tower_passes": passes["reground"],
        "plain_tower_passes": passes["plain"],
        "num_different": sum(ours != theirs for ours, theirs in zip(texts["reground"], texts["plain"], strict=True)),
    }


def _warm_up(model: HfModel, queries: Sequence[Query]) -> None:
    """What both sides do once in a process is timed on neither."""
    model.generate(queries, max_new_tokens=2)
    _plain_answer(model, queries[0], 2)


def _plain_answer(model: HfModel, query: Query, num_tokens: int) -> str:
    pictures = open_image(query.image) if query.image is not None else []
    content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": prompt_text(query)}]
    prompt = model.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    inputs = model.processor(text=[prompt], images=[pictures] if pictures else None, return_tensors="pt")
    with torch.no_grad():
        ids = model.module.generate(**inputs, max_new_tokens=num_tokens, do_sample=False)
    return model.chat.written(ids[0, inputs["input_ids"].shape[1] :].tolist()).text


@contextmanager
def _tower_passes(model: HfModel) -> Iterator[list[object]]:
    """Grows by one with every pass of the vision tower inside the block."""
    counted: list[object] = []
    tower = model.module.get_submodule(model.family.vision[0])
    handle = tower.register_forward_hook(lambda *_: counted.append(None))
    try:
        yield counted
    finally:
        handle.remove()


if __name__ == "__main__":
    main()
