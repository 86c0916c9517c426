"""How much the image cache saves: many questions about few images, with it and without, in one run.

The comparison is a naive loop over the same model: the checkpoint's own processor and ``generate`` with
pixels, one question at a time. A second comparison takes the cache alone away and leaves the batches.

    python perf/image_cache.py                              a tiny random model
    python perf/image_cache.py --model path/to/checkpoint --image a.png --image b.png

Prints one JSON object; both ratios are above 1 if the adapter is worth its code.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image

from reground.edits.images import open_image
from reground.edits.records import ImageRef
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.hf.image_cache import ImageCache
from reground.models.hf.tiny import build_tiny_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint folder or hub name; a tiny random one if absent")
    parser.add_argument("--image", action="append", default=[], help="an image address; repeat for several")
    parser.add_argument("--questions", type=int, default=8, help="questions about each image")
    parser.add_argument("--tokens", type=int, default=16, help="tokens per answer")
    parser.add_argument("--repeats", type=int, default=3, help="the best of this many runs counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or str(build_tiny_checkpoint(Path(scratch) / "tiny", hidden_size=64))
        images = given.image or _random_images(Path(scratch), 8)
        model = load_hf_model(folder)
        queries = [
            Query(question=f"which condition does this image show? {number}", image=ImageRef(frames=(image,)))
            for number in range(given.questions)
            for image in images
        ]
        print(json.dumps(_compare(model, queries, given.tokens, given.repeats), indent=2))


def _compare(model: HfModel, queries: list[Query], num_tokens: int, repeats: int) -> dict[str, Any]:
    cache_bytes = model.images.max_bytes

    def cached() -> list[str]:
        model.images = ImageCache(cache_bytes)
        return [outputs[0].text for outputs in model.generate(queries, max_new_tokens=num_tokens)]

    def uncached() -> list[str]:
        model.images = ImageCache(0)
        return [outputs[0].text for outputs in model.generate(queries, max_new_tokens=num_tokens)]

    def naive() -> list[str]:
        return [_naive_answer(model, query, num_tokens) for query in queries]

    texts, cached_s = _best(cached, repeats)
    same_texts, uncached_s = _best(uncached, repeats)
    naive_texts, naive_s = _best(naive, repeats)
    return {
        "model": model.info.name if "/tmp" not in model.info.name else "tiny random idefics3",
        "device": model.info.device,
        "threads": torch.get_num_threads(),
        "num_queries": len(queries),
        "num_images": len({query.image for query in queries}),
        "cached_s": round(cached_s, 4),
        "uncached_batched_s": round(uncached_s, 4),
        "naive_s": round(naive_s, 4),
        "uncached_over_cached": round(uncached_s / cached_s, 2),
        "naive_over_cached": round(naive_s / cached_s, 2),
        "cached_equals_uncached": texts == same_texts,
        "share_equal_to_naive": sum(a == b for a, b in zip(texts, naive_texts, strict=True)) / len(texts),
    }


def _naive_answer(model: HfModel, query: Query, num_tokens: int) -> str:
    assert query.image is not None
    pictures = open_image(query.image)
    content = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": query.question}]
    prompt = model.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    inputs = model.processor(text=[prompt], images=[pictures], return_tensors="pt").to(model.device)
    with torch.no_grad():
        ids = model.module.generate(**inputs, max_new_tokens=num_tokens, do_sample=False)
    return model._output(ids[0, inputs["input_ids"].shape[1] :].tolist()).text


def _best(run: Callable[[], list[str]], repeats: int) -> tuple[list[str], float]:
    seconds = []
    texts: list[str] = []
    for _ in range(repeats):
        started = time.perf_counter()
        texts = run()
        seconds.append(time.perf_counter() - started)
    return texts, min(seconds)


def _random_images(folder: Path, count: int) -> list[str]:
    random = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


if __name__ == "__main__":
    main()
