"""What several measurements share: a tiny Qwen2-VL that takes large pictures as they are, and edits with such pictures.

Not a script of its own; the others import it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from PIL import Image
from transformers import Qwen2VLForConditionalGeneration

from reground.benchmarks.registry import open_benchmark
from reground.edits.images import image_key, open_image
from reground.edits.records import Edit, ImageRef, Probe
from reground.models.hf.tiny_grid import build_qwen2_vl

__all__ = ["PICTURE_SIZE", "build_large_picture_checkpoint", "resident_bytes", "visual_edits"]

#: Width and height in pixels.
PICTURE_SIZE = (640, 480)

#: As published Qwen2-VL checkpoints have it: 640x480 pixels become 23x17 = 391 tokens.
_PATCH_SIZE = 14


def build_large_picture_checkpoint(
    folder: Path, hidden_size: int = 64, *, vision_settings: Mapping[str, Any] | None = None, **text_settings: Any
) -> Path:
    """A Qwen2-VL, random and by default tiny, but with patches and pixel limits as published checkpoints have them.

    Args:
        folder: Where to write.
        hidden_size: Width of the text model.
        vision_settings: Of the tower's config, other than a tiny one's.
        text_settings: Of the text model's config, other than a tiny one's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small, processor = build_qwen2_vl(hidden_size)
        config: Any = small.config
        tower = config.vision_config
        config.vision_config = type(tower)(**{**tower.to_dict(), "patch_size": _PATCH_SIZE, **(vision_settings or {})})
        tiny = config.text_config
        further = {"max_position_embeddings": 4096, "layer_types": None, **text_settings}
        config.text_config = type(tiny)(**{**tiny.to_dict(), **further})
        module = Qwen2VLForConditionalGeneration(config)
    processor.image_processor.patch_size = _PATCH_SIZE
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 16384 * 28 * 28}
    module.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    module.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    module.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def visual_edits(
    folder: Path, num_edits: int, benchmark_name: str, size: tuple[int, int] = PICTURE_SIZE
) -> Iterator[tuple[Edit, list[Probe]]]:
    """Visual edits of the built-in world and what is asked about each, every frame drawn out to one size.

    Args:
        folder: Where the pictures are written.
        num_edits: How many.
        benchmark_name: A suite of the built-in world.
        size: Width and height in pixels.
    """
    benchmark = open_benchmark(benchmark_name)
    found = 0
    for edit in benchmark.edits("test", 4 * num_edits):
        if edit.image is None or found == num_edits:
            continue
        found += 1
        large = Edit(**{**_fields(edit), "image": _enlarged(edit.image, folder, size)})
        yield large, [_enlarged_probe(probe, large, folder, size) for probe in benchmark.probes(edit)]


def _enlarged_probe(probe: Probe, edit: Edit, folder: Path, size: tuple[int, int]) -> Probe:
    image = None if probe.image is None else _enlarged(probe.image, folder, size)
    return Probe(**{**_fields(probe), "edit_id": edit.id, "image": image})


def _fields(record: Edit | Probe) -> dict[str, Any]:
    """All that a record says but its id, which follows from the rest."""
    return {name: getattr(record, name) for name in type(record).model_fields if name != "id"}


def _enlarged(image: ImageRef, folder: Path, size: tuple[int, int]) -> ImageRef:
    paths = []
    for number, frame in enumerate(open_image(image)):
        path = folder / f"{hashlib.sha256(image_key(image).encode()).hexdigest()[:16]}-{number}.png"
        if not path.is_file():
            frame.resize(size, Image.Resampling.BICUBIC).save(path)
        paths.append(str(path))
    return ImageRef(frames=tuple(paths))


def resident_bytes() -> int:
    """Memory of this process that is in RAM now, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
