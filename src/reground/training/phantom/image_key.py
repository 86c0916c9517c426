"""How the built-in models' tower tells images apart for a library: two small heads on its frozen patches.

The tower was trained to name what it sees, not to bring images of one subject together, so the mean of its patches
says more about the scanner than about the subject. Two heads put that right. Each looks at the patches with learned
queries and names one of two things: *what* is shown (a sign, a family of devices, a shape) and *which one* (the organ
it is in, the member of the family, the colour). Two images of one subject agree in both, look-alikes in one.

Fitted on subjects of the training split alone. Axes: B images, P patches, D tower width, Q queries of a head, C names.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from reground.edits.images import open_image
from reground.edits.records import ImageRef, Record
from reground.models.hf.family import processed_image
from reground.models.hf.image_key import ImageKeyHead
from reground.phantom.render import COLOURS, SHAPES, device_uri, finding_uri, shapes_uri
from reground.phantom.world import MODALITIES, NUM_FAMILIES, ORGANS, PLACES, SIGNS, SIZES, SubjectSplit, phantom_world

__all__ = ["KEY_NAMES", "ImageKeySettings", "fit_image_key", "key_accuracy", "key_image"]

#: What each head names.
KEY_NAMES: dict[str, tuple[str, ...]] = {
    "what": (*SIGNS, *(f"family {index}" for index in range(NUM_FAMILIES)), *SHAPES),
    "which": (*ORGANS, *(f"member {index}" for index in range(6)), *COLOURS),
}


class ImageKeySettings(Record):
    """Settings of the fit.

    Attributes:
        num_images: Distinct images, half of them findings, the rest devices and a few shapes.
        num_queries: Learned queries of each head.
        num_steps, batch_size, learning_rate: Of AdamW; the rate falls to nothing along a cosine.
        smoothing: Share of each label that is spread over all names, so that confidence stays graded.
        num_checked: Fresh images of each split that accuracies are taken on.
        seed: Of images and weights.
    """

    num_images: int = 6000
    num_queries: int = 4
    num_steps: int = 1500
    batch_size: int = 256
    learning_rate: float = 3e-3
    smoothing: float = 0.05
    num_checked: int = 400
    seed: int = 1


def key_image(rng: random.Random, split: SubjectSplit) -> tuple[str, dict[str, int]]:
    """The address of an image of a subject in ``split``, and the index of the right name for each head."""
    world = phantom_world()
    seed, roll, modality = rng.randrange(1 << 30), rng.random(), rng.choice(MODALITIES)
    if roll < 0.5:
        organ, sign = world.findings[rng.choice(world.subjects("finding", split))]
        uri = finding_uri(organ, sign, rng.choice(PLACES), rng.choice(SIZES), modality, seed)
        named = {"what": sign, "which": organ}
    elif roll < 0.94:
        device = rng.choice(world.subjects("device", split))
        family, member = world.devices[device]
        uri, named = device_uri(device, modality, seed), {"what": f"family {family}", "which": f"member {member}"}
    else:
        shape, colour = rng.choice(SHAPES), rng.choice(tuple(COLOURS))
        uri, named = shapes_uri(shape, colour, rng.randint(1, 4), seed), {"what": shape, "which": colour}
    return uri, {head: KEY_NAMES[head].index(name) for head, name in named.items()}


def fit_image_key(model: Any, file: Path, settings: ImageKeySettings | None = None) -> dict[str, float]:
    """Fit the two heads on a built-in model's tower and write them.

    Args:
        model: A loaded built-in model (``HfModel``); its tower is not changed.
        file: The safetensors file to write.
        settings: Of the fit.

    Returns:
        Accuracy of each head on fresh images of training and of calibration subjects.
    """
    settings = settings or ImageKeySettings()
    rng = random.Random(f"image-key/{settings.seed}")
    samples = [key_image(rng, "train") for _ in range(settings.num_images)]
    states_BPD = _patch_states(model, [uri for uri, _ in samples])
    labels = {head: torch.tensor([label[head] for _, label in samples]) for head in KEY_NAMES}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        heads = nn.ModuleDict(
            {
                head: ImageKeyHead(states_BPD.shape[-1], settings.num_queries, len(names))
                for head, names in KEY_NAMES.items()
            }
        )
        _descend(heads, states_BPD, labels, settings)
    found = {
        f"{split}.{head}": share
        for split in ("train", "calibration")
        for head, share in key_accuracy(model, heads, split, settings.num_checked).items()
    }
    metadata = {"settings": settings.model_dump_json(), **{name: f"{share:.4f}" for name, share in found.items()}}
    save_file({name: tensor.contiguous() for name, tensor in heads.state_dict().items()}, file, metadata=metadata)
    return found


@torch.no_grad()
def key_accuracy(model: Any, heads: nn.ModuleDict, split: SubjectSplit, num_images: int) -> dict[str, float]:
    """Share of fresh images of a split whose name each head gets right."""
    rng = random.Random(f"image-key/held-out/{split}")
    samples = [key_image(rng, split) for _ in range(num_images)]
    states_BPD = _patch_states(model, [uri for uri, _ in samples])
    return {
        name: sum(
            int(head(states_BPD)[row].argmax()) == label[name] for row, (_, label) in enumerate(samples)
        ) / num_images
        for name, head in heads.items()
    }  # fmt: skip


def _descend(
    heads: nn.ModuleDict, states_BPD: torch.Tensor, labels: Mapping[str, torch.Tensor], settings: ImageKeySettings
) -> None:
    optimizer = torch.optim.AdamW(heads.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.num_steps)
    for _ in range(settings.num_steps):
        rows = torch.randint(len(states_BPD), (settings.batch_size,))
        losses = [
            nn.functional.cross_entropy(head(states_BPD[rows]), labels[name][rows], label_smoothing=settings.smoothing)
            for name, head in heads.items()
        ]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    heads.eval()


@torch.no_grad()
def _patch_states(model: Any, uris: Sequence[str], batch_size: int = 64) -> torch.Tensor:
    """Last hidden states (BPD) of the tower."""
    pixels = [
        processed_image(model.processor, open_image(ImageRef(frames=(uri,)))[0])["pixel_values"][0] for uri in uris
    ]
    tower = model.module.model.vision_model
    return torch.cat(
        [
            tower(pixel_values=torch.cat(pixels[start : start + batch_size])).last_hidden_state
            for start in range(0, len(pixels), batch_size)
        ]
    )
