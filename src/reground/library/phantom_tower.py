"""Encoders of the built-in world: the models' tower for images, their token embeddings for texts.

``training.phantom.image_key`` fits the two heads that tell subjects apart; both built-in models share the tower.

Axes: N texts or images, F frames, D dimensions, B images of a batch, P patches, C names of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reground.edits.images import open_image
from reground.edits.records import ImageRef

__all__ = [
    "PhantomImages",
    "PhantomTexts",
    "mean_direction",
    "open_phantom_images",
    "open_phantom_texts",
    "unit_length",
]

_HEADS_FILE = "phantom_image_key.safetensors"
_BATCH = 64


def unit_length(vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector over its length; a vector of zeros stays as it is.

    Example:
        >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return (vectors_ND / np.where(lengths_N1 == 0, 1, lengths_N1)).astype(np.float32)


def mean_direction(vectors_FD: NDArray[np.float32], num_frames: Sequence[int]) -> NDArray[np.float32]:
    """For each image the direction of the mean of its frames' directions (ND).

    Args:
        vectors_FD: Of all frames, image after image.
        num_frames: Frames of each image.
    """
    unit_FD = unit_length(vectors_FD)
    ends = np.cumsum(num_frames)
    means = [unit_FD[end - count : end].mean(axis=0) for end, count in zip(ends, num_frames, strict=True)]
    return unit_length(np.stack(means))


class PhantomImages:
    """What the tower sees, as the probabilities of two heads.

    Each head gives the square roots of its probabilities, which have length 1, so that the inner product of two images
    is half the Bhattacharyya coefficient of *what* they show and half that of *which* one: 1 for one subject, 0.5 for a
    look-alike, 0 for what has nothing in common.
    """

    spec = "phantom-med"

    @property
    def num_dimensions(self) -> int:
        return sum(_heads()[name].names.out_features for name in _heads())

    def encode(self, images: Sequence[ImageRef]) -> NDArray[np.float32]:
        frames = [open_image(image) for image in images]
        flat = [frame for of_image in frames for frame in of_image]
        return mean_direction(_seen(flat), [len(of_image) for of_image in frames])


class PhantomTexts:
    """The mean of the token embeddings of the built-in model, from which the mean over its vocabulary is taken."""

    spec = "phantom-med"

    @property
    def num_dimensions(self) -> int:
        return int(_embeddings().shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokenizer = _model().processor.tokenizer
        vectors_ND = np.zeros((len(texts), self.num_dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            if ids:
                vectors_ND[row] = _embeddings()[ids].mean(axis=0)
        return unit_length(vectors_ND)


def open_phantom_images(spec: str) -> PhantomImages:
    """The image encoder of the built-in world."""
    return PhantomImages()


def open_phantom_texts(spec: str) -> PhantomTexts:
    """The text encoder of the built-in world that needs nothing but the model."""
    return PhantomTexts()


def _seen(frames: Sequence[Any]) -> NDArray[np.float32]:
    import torch

    from reground.models.hf.family import processed_image

    model = _model()
    tower = model.module.model.vision_model
    parts = []
    with torch.no_grad():
        for start in range(0, len(frames), _BATCH):
            pixels = [
                processed_image(model.processor, frame)["pixel_values"][0] for frame in frames[start : start + _BATCH]
            ]
            states_BPD = tower(pixel_values=torch.cat(pixels).to(model.device)).last_hidden_state.float().cpu()
            roots = [head(states_BPD).softmax(-1).sqrt() for head in _heads().values()]
            parts.append(torch.cat(roots, dim=1).numpy())
    return np.concatenate(parts)


@cache
def _model() -> Any:
    from reground.models.registry import load_model

    return load_model("phantom-med", device="cpu")


@cache
def _embeddings() -> NDArray[np.float32]:
    weights = _model().module.get_input_embeddings().weight.detach().float().numpy()
    centred: NDArray[np.float32] = weights - weights.mean(axis=0)
    return centred


@cache
def _heads() -> dict[str, Any]:
    from safetensors.torch import load

    from reground.models.hf.image_key import ImageKeyHead

    tensors = load(resources.files(__package__).joinpath(_HEADS_FILE).read_bytes())
    heads = {}
    for name in dict.fromkeys(key.split(".")[0] for key in tensors):
        own = {key.split(".", 1)[1]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
        num_queries, width = own["looks.weight"].shape
        head = ImageKeyHead(width, num_queries, len(own["names.weight"]))
        head.load_state_dict(own)
        heads[name] = head.eval()
    return heads
