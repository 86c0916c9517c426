"""Stage 1: the image tower learns, alone, to name what it sees.

A stock SigLIP-style tower (the vision part of Idefics3) with one small head per attribute that looks where it likes.
Its position embeddings start at a standard deviation of 0.3: at the stock 0.02 whole shapes are hardly learned. Pose
jitter starts mild and widens.

Axes: B images, P patches, D tower width.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionTransformer

from reground.edits.records import Record
from reground.phantom import easyvqa
from reground.phantom.render import COLOURS, SHAPES, device_uri, finding_uri, render_uri, shapes_uri
from reground.phantom.world import (
    MODALITIES,
    NUM_FAMILIES,
    ORGANS,
    PLACES,
    SIGNS,
    SIZES,
    phantom_world,
)

__all__ = [
    "HEADS",
    "WAYS",
    "TowerSettings",
    "build_tower",
    "evaluate_tower",
    "learning_rate_at",
    "load_tower",
    "pixels",
    "save_state",
    "train_tower",
    "turned",
]

_log = logging.getLogger(__name__)

_ALL_SHAPES = (*SHAPES, "rectangle")
_ALL_COLOURS = (*COLOURS, "brown", "black", "gray", "teal")
#: What each head names; -1 in a label means that the attribute does not apply.
HEADS: dict[str, tuple[str, ...]] = {
    "domain": ("finding", "device", "shapes", "easyvqa"),
    "modality": MODALITIES,
    "organ": ORGANS,
    "sign": SIGNS,
    "place": PLACES,
    "size": SIZES,
    "family": tuple(str(i) for i in range(NUM_FAMILIES)),
    "holes": ("1", "2", "3"),
    "cap": ("no", "yes"),
    "device": tuple(phantom_world().devices),
    "shape": _ALL_SHAPES,
    "colour": _ALL_COLOURS,
    "count": ("1", "2", "3", "4"),
}


class TowerSettings(Record):
    """Settings of stage 1, in two phases: the second has smaller batches and more findings.

    Attributes:
        width, depth, num_heads, mlp_width: Size of the tower.
        num_steps, batch_size: Length of the first phase.
        learning_rate: Peak; warm-up over 3 % of a phase's steps, then a cosine to 2 %.
        easy_share: Share of the first phase at a jitter of 0.57; over as many steps again it grows to 1.43, wider than
            what the benchmark shows.
        late_steps, late_batch_size: Length of the second phase, with an optimiser of its own and smaller batches.
        late_learning_rate: Peak of the second phase.
        position_std: Standard deviation position embeddings start with.
        seed: Seed of weights and data.
    """

    width: int = 160
    depth: int = 4
    num_heads: int = 4
    mlp_width: int = 480
    num_steps: int = 1600
    batch_size: int = 96
    learning_rate: float = 1.2e-3
    easy_share: float = 0.3
    late_steps: int = 2400
    late_batch_size: int = 48
    late_learning_rate: float = 1.0e-3
    position_std: float = 0.3
    seed: int = 1


@dataclass(frozen=True)
class _Sample:
    uri: str
    labels: dict[str, int]


#: Cumulative shares of findings, devices and shapes; the rest is easy-VQA.
_FIRST_MIX, _LATE_MIX = (0.44, 0.80, 0.90), (0.52, 0.80, 0.90)


def _sample(
    rng: random.Random,
    mix: tuple[float, float, float] = _FIRST_MIX,
    splits: tuple[str, ...] = ("train", "calibration", "test"),
) -> _Sample:
    """One image address with its labels, drawn from subjects in ``splits``."""
    world = phantom_world()
    roll, seed = rng.random(), rng.randrange(1 << 30)
    if roll < mix[0]:
        finding = rng.choice(world.subjects("finding", *splits))  # type: ignore[arg-type]
        organ, sign = world.findings[finding]
        place, size, modality = rng.choice(PLACES), rng.choice(SIZES), rng.choice(MODALITIES)
        values = {
            "domain": "finding",
            "modality": modality,
            "organ": organ,
            "sign": sign,
            "place": place,
            "size": size,
        }
        uri = finding_uri(organ, sign, place, size, modality, seed)
    elif roll < mix[1]:
        name = rng.choice(world.subjects("device", *splits))  # type: ignore[arg-type]
        family, member = world.devices[name]
        modality = rng.choice(MODALITIES)
        values = {"domain": "device", "modality": modality, "family": str(family), "device": name}
        values |= {"holes": str(member % 3 + 1), "cap": "yes" if member >= 3 else "no"}
        uri = device_uri(name, modality, seed)
    elif roll < mix[2]:
        shape, colour, count = rng.choice(SHAPES), rng.choice(tuple(COLOURS)), rng.randint(1, 4)
        values = {"domain": "shapes", "shape": shape, "colour": colour, "count": str(count)}
        uri = shapes_uri(shape, colour, count, seed)
    else:
        known = easyvqa.describe_images("train")
        image_id = rng.choice(tuple(known))
        shape, colour = known[image_id]
        values = {"domain": "easyvqa", "shape": shape, "colour": colour}
        uri = f"easyvqa:train/{image_id}"
    return _Sample(uri, {head: names.index(values[head]) if head in values else -1 for head, names in HEADS.items()})


def pixels(images: list[Image.Image]) -> torch.Tensor:
    """Pixel values ``(B, 3, 64, 64)`` in [-1, 1], as the processor of the built-in models computes them."""
    stacked = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    return torch.from_numpy((stacked / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()


class _Batches(Dataset[tuple[torch.Tensor, dict[str, torch.Tensor]]]):
    """Batch ``i`` depends on the seed and ``i`` alone, so that a resumed run sees what an uninterrupted one does."""

    def __init__(self, settings: TowerSettings, start: int) -> None:
        self._settings, self._start = settings, start

    def __len__(self) -> int:
        return self._settings.num_steps + self._settings.late_steps - self._start

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        step = self._start + index
        s = self._settings
        jitter = 0.57 + 0.86 * min(1.0, max(0.0, step / (s.easy_share * s.num_steps) - 1))
        rng = random.Random(f"tower/{s.seed}/{step}")
        if step < s.num_steps:
            return _batch(rng, s.batch_size, jitter, _FIRST_MIX)
        return _batch(rng, s.late_batch_size, jitter, _LATE_MIX)


def _batch(
    rng: random.Random, size: int, jitter: float, mix: tuple[float, float, float] = _FIRST_MIX
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    samples = [_sample(rng, mix) for _ in range(size)]
    images = [
        turned(easyvqa.open_uri(s.uri), rng.choice(WAYS)) if s.uri.startswith("easyvqa") else render_uri(s.uri, jitter)
        for s in samples
    ]
    return pixels(images), {head: torch.tensor([s.labels[head] for s in samples]) for head in HEADS}


#: The eight ways a square can lie; None leaves it as it is.
WAYS = (None, *Image.Transpose)


def turned(image: Image.Image, way: Image.Transpose | None) -> Image.Image:
    """The image lying another way: easy-VQA has few images, none has an up, and no question asks for places."""
    return image if way is None else image.transpose(way)


def build_tower(settings: TowerSettings) -> Idefics3VisionTransformer:
    """An untrained tower of the stock architecture."""
    config = Idefics3VisionConfig(
        hidden_size=settings.width,
        intermediate_size=settings.mlp_width,
        num_hidden_layers=settings.depth,
        num_attention_heads=settings.num_heads,
        image_size=64,
        patch_size=8,
    )
    config._attn_implementation = "sdpa"
    tower = Idefics3VisionTransformer(config)
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=settings.position_std)
    return tower


class _Namer(nn.Module):
    """A tower with one head per attribute: attention with a learned query over patches, then a linear layer."""

    def __init__(self, settings: TowerSettings) -> None:
        super().__init__()
        self.tower = build_tower(settings)
        self.looks = nn.Linear(settings.width, len(HEADS))
        self.heads = nn.ModuleDict({name: nn.Linear(settings.width, len(values)) for name, values in HEADS.items()})

    def forward(self, pixels_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        states_BPD = self.tower(pixel_values=pixels_BCHW).last_hidden_state
        seen_BKD = self.looks(states_BPD).softmax(1).transpose(1, 2) @ states_BPD  # K heads
        return {name: head(seen_BKD[:, k]) for k, (name, head) in enumerate(self.heads.items())}


def learning_rate_at(step: int, num_steps: int, peak: float, warmup_share: float = 0.03, floor: float = 0.02) -> float:
    """Linear warm-up, then a cosine from ``peak`` to ``floor * peak``."""
    warmup = max(1, round(num_steps * warmup_share))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train_tower(settings: TowerSettings, folder: Path, *, checkpoint_every: int = 200) -> Path:
    """Train the tower; resumes from ``folder`` if a checkpoint is there.

    Returns:
        The file ``folder/tower.pt`` with the tower's state, its settings, the loss curve and held-out accuracies.
    """
    done = folder / "tower.pt"
    if done.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    model = _Namer(settings)
    optimizer = _optimizer(model)
    partial, start, curve, elapsed = folder / "tower-partial.pt", 0, [], 0.0
    if partial.exists():
        state = torch.load(partial, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, curve, elapsed = state["step"], state["curve"], state["elapsed_s"]
    loader = DataLoader(_Batches(settings, start), batch_size=None, num_workers=1, prefetch_factor=4)
    began = time.monotonic() - elapsed
    last = settings.num_steps + settings.late_steps - 1
    model.train()
    for step, (pixels_BCHW, labels) in enumerate(_each(loader), start=start):
        if step == settings.num_steps:
            optimizer = _optimizer(model)
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step)
        logits = model(pixels_BCHW)
        loss = torch.stack([_loss(logits[head], labels[head]) for head in HEADS]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == last:
            hits = {
                h: _hit_share(logits[h], labels[h])
                for h in ("organ", "sign", "place", "size", "family", "holes", "device", "shape")
            }
            curve.append({"step": step, "loss": round(loss.item(), 4), **hits})
            _log.info("tower %d %.0fs %s", step, time.monotonic() - began, json.dumps(curve[-1]))
        if (step + 1) % checkpoint_every == 0:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
                "curve": curve,
                "elapsed_s": time.monotonic() - began,
            }
            save_state(state, partial)
    report = {"curve": curve, "train_s": time.monotonic() - began, "accuracy": evaluate_tower(model)}
    _log.info("tower done %s", json.dumps(report["accuracy"]))
    save_state({"tower": model.tower.state_dict(), "settings": settings.model_dump(), **report}, done)
    partial.unlink(missing_ok=True)
    return done


def _loss(logits_BK: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the images the attribute applies to; 0 if it applies to none."""
    total = nn.functional.cross_entropy(logits_BK, labels_B, ignore_index=-1, reduction="sum")
    return total / (labels_B >= 0).sum().clamp(min=1)


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.02, betas=(0.9, 0.98))


def _learning_rate(settings: TowerSettings, step: int) -> float:
    if step < settings.num_steps:
        return learning_rate_at(step, settings.num_steps, settings.learning_rate)
    return learning_rate_at(step - settings.num_steps, settings.late_steps, settings.late_learning_rate)


@torch.no_grad()
def evaluate_tower(model: nn.Module, num_batches: int = 20, seed: str = "held-out images") -> dict[str, float]:
    """Accuracy per head on images of known subjects that no training step drew."""
    model.eval()
    hits: dict[str, list[float]] = {head: [] for head in HEADS}
    for i in range(num_batches):
        pixels_BCHW, labels = _batch(random.Random(f"tower-eval/{seed}/{i}"), 96, 1.0)
        logits = model(pixels_BCHW)
        for head in HEADS:
            applies = labels[head] >= 0
            hits[head] += (logits[head].argmax(-1) == labels[head])[applies].float().tolist()
    return {head: round(sum(values) / len(values), 4) for head, values in hits.items()}


def load_tower(file: Path) -> tuple[Idefics3VisionTransformer, TowerSettings, dict[str, Any]]:
    """The tower that ``train_tower`` wrote, in evaluation mode, with its settings and report."""
    state = torch.load(file, weights_only=True)
    settings = TowerSettings.model_validate(state["settings"])
    tower = build_tower(settings)
    tower.load_state_dict(state["tower"])
    return tower.eval(), settings, {key: state[key] for key in ("curve", "train_s", "accuracy")}


def _hit_share(logits_BK: torch.Tensor, labels_B: torch.Tensor) -> float:
    applies = labels_B >= 0
    return round((logits_BK.argmax(-1) == labels_B)[applies].float().mean().item(), 3)


def _each(loader: DataLoader[Any]) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    yield from loader


def save_state(state: dict[str, Any], file: Path) -> None:
    """Write a checkpoint whole or not at all."""
    temporary = file.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(file)
