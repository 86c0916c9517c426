"""Stages 2 to 4: the language model learns to read notes, then to see, to know and to arbitrate.

The tower is frozen, so each image of a fixed pool passes through it once; its patch states are kept in half precision
and only connector and language model run in a step. Batches hold samples of like length.

Axes: B samples, T tokens, P patches, D tower width, H hidden width, V vocabulary.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from pydantic import model_validator
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.configuration_idefics3 import Idefics3Config
from transformers.models.idefics3.modeling_idefics3 import (
    Idefics3ForConditionalGeneration,
    Idefics3VisionTransformer,
)
from transformers.models.llama.configuration_llama import LlamaConfig

from reground.edits.records import Record
from reground.phantom import easyvqa
from reground.phantom.render import COLOURS, SHAPES, device_uri, finding_uri, render_uri, shapes_uri
from reground.phantom.world import MODALITIES, PLACES, SIZES, phantom_world
from reground.training.phantom.samples import MIXTURES, FreshImages, Sample, Setting, draw
from reground.training.phantom.tower import WAYS, TowerSettings, learning_rate_at, pixels, save_state, turned
from reground.training.phantom.vocabulary import encode

__all__ = [
    "ImagePool",
    "LanguageSettings",
    "build_model",
    "check_samples",
    "encode_images",
    "exact_share",
    "train_stage",
]

_log = logging.getLogger(__name__)
_SUPERBATCH = 8


class LanguageSettings(Record):
    """Settings of stages 2 to 4.

    Attributes:
        hidden, depth, num_heads, mlp_width: Size of the language model.
        num_steps: Steps of this stage.
        batch_size: Samples a step.
        learning_rate: Peak of a warm-up and cosine schedule.
        images_per_subject: Images of each known subject in the pool.
        easyvqa_ways: In how many ways, of the eight a square can lie, each easy-VQA image is in the pool.
        mixture: Which line of ``samples.MIXTURES``.
        known_share: Share of subjects whose facts are taught.
        second_claim_share: Share of notes beside an image that make a second claim, about another subject.
        starts_copying: Whether a few attention heads start out able to find and repeat names, weakly; takes three heads
            a layer.
        seed: Seed of weights and data.
    """

    hidden: int = 192
    depth: int = 4
    num_heads: int = 3
    mlp_width: int = 512
    num_steps: int = 600
    batch_size: int = 64
    learning_rate: float = 2e-3
    images_per_subject: int = 48
    easyvqa_ways: int = 1
    mixture: str = "reading"
    known_share: float = 1.0
    second_claim_share: float = 0.12
    starts_copying: bool = True
    seed: int = 1

    @model_validator(mode="after")
    def _has_room_to_copy(self) -> Self:
        if self.starts_copying and self.num_heads < 3:
            raise ValueError(f"starts_copying takes num_heads of at least 3, not {self.num_heads}")
        return self


def build_model(
    settings: LanguageSettings, tower_settings: TowerSettings, tokenizer: PreTrainedTokenizerFast
) -> Idefics3ForConditionalGeneration:
    """An untrained model of the stock Idefics3 architecture, its tower included."""
    torch.manual_seed(settings.seed)
    token = tokenizer.convert_tokens_to_ids
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.mlp_width,
        num_hidden_layers=settings.depth,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_heads,
        attention_bias=True,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = Idefics3Config(
        vision_config={
            "hidden_size": tower_settings.width,
            "intermediate_size": tower_settings.mlp_width,
            "num_hidden_layers": tower_settings.depth,
            "num_attention_heads": tower_settings.num_heads,
            "image_size": 64,
            "patch_size": 8,
        },
        text_config=text,
        scale_factor=2,
        image_token_id=token("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    if settings.starts_copying:
        _start_copying(model, tokenizer)
    return model


@torch.no_grad()
def _start_copying(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    """Set the first weights of a few heads so that they find and repeat what the prompt holds.

    Copying needs a pair of heads (Olsson et al., 2022, "In-context Learning and Induction Heads"): one tells each token
    what stood before it, the next looks for the place where what stands here stood before, and says what came after it.
    Naming needs another pair, because a name's kind is told by its end and a name is written from its start: one head
    tells each token how its word starts, another, looking at a word's end, says that start. From random weights these
    take most of a short training to form; here they are there at step 0, weak, and training sharpens them. Where the
    last kind of head looks is left to chance and training. (In the spirit of Trockman & Kolter, 2023, "Mimetic
    Initialization"; the weights below are ours.)
    """
    config = model.config.text_config
    width, dim = config.hidden_size, config.head_dim
    half = dim // 2
    layers = [layer.self_attn for layer in model.model.text_model.layers]
    first, second = layers[:2]
    embeddings = model.get_input_embeddings().weight
    embeddings *= 4  # or else the other heads, whose weights are random, would drown what these say
    starts = nn.functional.normalize(torch.randn(width), dim=0)  # the axis that marks a word's first token

    # Four subspaces that do not overlap: the mark above, what a token is, what stood before it, how its word starts.
    basis = torch.linalg.qr(torch.cat([starts[:, None], torch.randn(width, 2 * dim + half)], 1)).Q.T
    token, last, start = basis[1 : 1 + dim], basis[1 + dim : 1 + dim + half], basis[1 + dim + half :]

    # Layer 0, head 0 looks one token back, by position alone: its four fastest rotary pairs carry a bias.
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    for i in range(4):
        amplitude = 0.95 * dim**0.5
        first.k_proj.bias[i] = amplitude
        first.q_proj.bias[i] = amplitude * torch.cos(frequencies[i])
        first.q_proj.bias[half + i] = -amplitude * torch.sin(frequencies[i])
    first.v_proj.weight[:half] = token[:half]
    first.o_proj.weight[:, :half] = 0.24 * last.T
    # Layer 1, head 0 asks for the token that stands here among what is told of last tokens, and repeats what it finds;
    # it compares by the slower half of the rotary pairs, both sides.
    slow = torch.cat([torch.arange(half - half // 2, half), torch.arange(dim - half // 2, dim)])
    second.q_proj.weight[slow] = 1.5 * token[:half]
    second.k_proj.weight[slow] = 1.5 * last
    second.v_proj.weight[:dim] = token
    second.o_proj.weight[:, :dim] = 0.4 * token.T
    # Layer 0, head 1 looks for the last token that starts a word: pairs whose angle grows slowly prefer the nearest.
    begins = [i for i, piece in enumerate(tokenizer.convert_ids_to_tokens(range(len(embeddings)))) if piece[0] == "Ġ"]
    embeddings[begins] += embeddings.norm(dim=1).mean() * starts
    head = slice(dim, 2 * dim)
    near = [int((frequencies - angle).abs().argmin()) for angle in (0.4, 0.2, 0.1)]
    for i in near:
        first.q_proj.bias[dim + i] = 0.9 * dim**0.5
        first.k_proj.weight[dim + i] = starts
    first.v_proj.weight[head] = token
    first.o_proj.weight[:, head] = 0.2 * start.T
    # Head 0 of later layers says the start of the word it looks at.
    for attention in layers[2:]:
        attention.v_proj.weight[:dim] = start
        attention.o_proj.weight[:, :dim] = 0.2 * token.T


class ImagePool:
    """The images a stage trains on, as patch states of the frozen tower.

    Attributes:
        states_NPD: Patch states of all images, half precision.
    """

    def __init__(
        self, tower: Idefics3VisionTransformer, images_per_subject: int, seed: int, *, easyvqa_ways: int = 1
    ) -> None:
        world, rng = phantom_world(), random.Random(f"pool/{seed}")
        self._easyvqa_ways = easyvqa_ways
        self._by_subject: dict[str, list[str]] = {}
        for finding in world.subjects("finding"):
            organ, sign = world.findings[finding]
            self._by_subject[finding] = [
                finding_uri(
                    organ,
                    sign,
                    rng.choice(PLACES),
                    SIZES[i % 3],
                    MODALITIES[(i // 3) % 6],
                    rng.randrange(1 << 30),
                )
                for i in range(images_per_subject)
            ]
        for name in world.subjects("device"):
            self._by_subject[name] = [
                device_uri(name, MODALITIES[i % 6], rng.randrange(1 << 30)) for i in range(images_per_subject)
            ]
        self._shapes = [
            shapes_uri(shape, colour, count, rng.randrange(1 << 30))
            for shape in SHAPES
            for colour in COLOURS
            for count in (1, 2, 3, 4)
            for _ in range(10)
        ]
        easyvqa_uris = [_lying(i, way) for i in easyvqa.describe_images("train") for way in range(easyvqa_ways)]
        uris = [*(u for group in self._by_subject.values() for u in group), *self._shapes, *easyvqa_uris]
        self._index = {uri: i for i, uri in enumerate(uris)}
        self.states_NPD = encode_images(tower, uris)

    def __getstate__(self) -> dict[str, Any]:  # workers need the addresses, not the states
        return {key: value for key, value in self.__dict__.items() if key != "states_NPD"}

    def states(self, uris: Sequence[str]) -> torch.Tensor:
        """Patch states ``(len(uris), P, D)``, single precision."""
        return self.states_NPD[[self._index[uri] for uri in uris]].float()

    def finding(self, finding: str, rng: random.Random) -> str:
        return rng.choice(self._by_subject[finding])

    def device(self, name: str, rng: random.Random) -> str:
        return rng.choice(self._by_subject[name])

    def shapes(self, rng: random.Random) -> str:
        return rng.choice(self._shapes)

    def easyvqa(self, image_id: int, rng: random.Random) -> str:
        return _lying(image_id, rng.randrange(self._easyvqa_ways) if self._easyvqa_ways > 1 else 0)


def _lying(image_id: int, way: int) -> str:
    """The address of a training image of easy-VQA, and behind a ``#`` how it lies if not as published."""
    return f"easyvqa:train/{image_id}" + (f"#{way}" if way else "")


def _open(uri: str) -> Image.Image:
    address, _, way = uri.partition("#")
    return turned(easyvqa.open_uri(address), WAYS[int(way or 0)]) if uri.startswith("easyvqa") else render_uri(uri)


@torch.no_grad()
def encode_images(tower: Idefics3VisionTransformer, uris: Sequence[str], batch_size: int = 192) -> torch.Tensor:
    """Patch states ``(N, P, D)`` of images, half precision."""
    parts = []
    for start in range(0, len(uris), batch_size):
        images = [_open(uri) for uri in uris[start : start + batch_size]]
        parts.append(tower(pixel_values=pixels(images)).last_hidden_state.half())
    return torch.cat(parts)


class _Batches(IterableDataset[tuple[list[tuple[list[int], list[int]]], list[str]]]):
    """Batches of like length; superbatch ``k`` depends on the seed and ``k`` alone."""

    def __init__(
        self, settings: LanguageSettings, setting: Setting, tokenizer: PreTrainedTokenizerFast, start: int
    ) -> None:
        self._settings, self._setting, self._tokenizer, self._start = settings, setting, tokenizer, start

    def __iter__(self) -> Iterator[tuple[list[tuple[list[int], list[int]]], list[str]]]:
        s = self._settings
        weights = MIXTURES[s.mixture]
        kinds, shares = list(weights), list(weights.values())
        for step in range(self._start - self._start % _SUPERBATCH, s.num_steps, _SUPERBATCH):
            rng = random.Random(f"{s.mixture}/{s.seed}/{step}")
            chosen = rng.choices(kinds, shares, k=s.batch_size * _SUPERBATCH)
            samples = [draw(kind, self._setting, rng) for kind in chosen]
            pairs = list(zip(encode(self._tokenizer, samples), samples, strict=True))
            pairs.sort(key=lambda pair: len(pair[0][0]) + len(pair[0][1]))
            batches = [pairs[i * s.batch_size : (i + 1) * s.batch_size] for i in range(_SUPERBATCH)]
            rng.shuffle(batches)
            for offset, batch in enumerate(batches):
                if self._start <= step + offset < s.num_steps:
                    yield [ids for ids, _ in batch], [uri for _, sample in batch for uri in sample.images]


def _loss_inputs(
    model: Idefics3ForConditionalGeneration,
    ids: Sequence[tuple[list[int], list[int]]],
    states_NPD: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states at the positions that predict completion tokens ``(K, H)``, and those tokens ``(K,)``."""
    length = max(len(p) + len(c) for p, c in ids)
    pad = model.config.text_config.pad_token_id
    ids_BT = torch.tensor([p + c + [pad] * (length - len(p) - len(c)) for p, c in ids])
    predicts_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, (p, c) in enumerate(ids):
        predicts_BT[row, len(p) - 1 : len(p) + len(c) - 1] = True
    embeds_BTH = model.get_input_embeddings()(ids_BT)
    if states_NPD is not None:
        image_H = model.model.connector(states_NPD).reshape(-1, embeds_BTH.shape[-1])
        at_image_BT1 = (ids_BT == model.config.image_token_id).unsqueeze(-1)
        embeds_BTH = embeds_BTH.masked_scatter(at_image_BT1, image_H)
    hidden_BTH = model.model.text_model(inputs_embeds=embeds_BTH, use_cache=False).last_hidden_state
    targets_BT = torch.roll(ids_BT, -1, 1)
    return hidden_BTH[predicts_BT], targets_BT[predicts_BT]


@torch.no_grad()
def exact_share(
    model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample]
) -> float:
    """Share of samples whose whole completion is the model's greedy output: every token the arg max given the last.

    Since there is one right chain per sample, this is a lower bound of answer accuracy.
    """
    model.eval()
    hits = 0
    for start in range(0, len(samples), 64):
        part = samples[start : start + 64]
        uris = [uri for sample in part for uri in sample.images]
        states = encode_images(model.model.vision_model, uris).float() if uris else None
        ids = encode(tokenizer, part)
        hidden_KH, targets_K = _loss_inputs(model, ids, states)
        right_K = model.lm_head(hidden_KH).argmax(-1) == targets_K
        hits += sum(bool(chunk.all()) for chunk in right_K.split([len(c) for _, c in ids]))
    return hits / len(samples)


def check_samples(
    kind: str,
    count: int,
    seed: str,
    *,
    wording: str = "seen",
    known: tuple[str, ...] = (),
    noted: tuple[str, ...] = (),
) -> list[Sample]:
    """Samples on fresh images for a check; never drawn in training."""
    setting = Setting(
        FreshImages(),
        wording=wording,  # type: ignore[arg-type]
        known=known or ("train", "calibration", "test"),  # type: ignore[arg-type]
        noted=noted or ("test",),  # type: ignore[arg-type]
        styles=False,
    )
    rng = random.Random(f"check/{kind}/{wording}/{seed}")
    return [draw(kind, setting, rng) for _ in range(count)]


_QUICK_CHECKS = {
    "reading": (("fresh_reading", "seen"), ("fresh_reading", "held_out"), ("trivia", "seen")),
    "med": (
        ("percept", "seen"), ("image_one_hop", "seen"), ("image_one_hop", "held_out"), ("image_multi_hop", "seen"),
        ("text_path", "seen"), ("change", "seen"), ("fresh_reading", "held_out"), ("note_fits", "held_out"),
        ("note_differs", "held_out"), ("note_unasked", "held_out"), ("shapes", "seen"),
    ),
    "general": (
        ("percept", "seen"), ("shapes", "seen"), ("shapes", "held_out"),
        ("trivia", "held_out"), ("fresh_reading", "held_out"), ("image_one_hop", "seen"),
        ("note_fits", "held_out"), ("note_differs", "held_out"),
    ),
}  # fmt: skip


def train_stage(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    settings: LanguageSettings,
    pool: ImagePool | None,
    folder: Path,
    *,
    checkpoint_every: int = 200,
    check_every: int = 200,
) -> dict[str, Any]:
    """Train one stage in place; resumes from ``folder`` if it was interrupted, returns at once if it was finished.

    Returns:
        The report: seconds, loss curve and quick checks.
    """
    done, partial = folder / f"{settings.mixture}.pt", folder / f"{settings.mixture}-partial.pt"
    if done.exists():
        state = torch.load(done, weights_only=True)
        _load_language(model, state["model"])
        return dict(state["report"])
    folder.mkdir(parents=True, exist_ok=True)
    for parameter in model.model.vision_model.parameters():
        parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    start, curve, elapsed = 0, [], 0.0
    if partial.exists():
        state = torch.load(partial, weights_only=True)
        _load_language(model, state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, curve, elapsed = state["step"], state["curve"], state["elapsed_s"]
    setting = Setting(
        pool or FreshImages(),
        known_share=settings.known_share,
        second_claim_share=settings.second_claim_share,
    )
    loader = DataLoader(
        _Batches(settings, setting, tokenizer, start), batch_size=None, num_workers=1, prefetch_factor=16
    )
    began, recent = time.monotonic() - elapsed, []
    for step, (ids, uris) in enumerate(loader, start=start):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, settings.num_steps, settings.learning_rate, warmup_share=0.02)
        states = pool.states(uris) if pool is not None and uris else None
        hidden_KH, targets_K = _loss_inputs(model, ids, states)
        loss = nn.functional.cross_entropy(model.lm_head(hidden_KH), targets_K)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        recent.append(loss.item())
        last = step + 1 == settings.num_steps
        if (step + 1) % checkpoint_every == 0 and not last:
            save_state(
                {
                    "model": _language_state(model),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                    "curve": curve,
                    "elapsed_s": time.monotonic() - began,
                },
                partial,
            )
        if (step + 1) % 50 == 0 or last:
            point: dict[str, Any] = {"step": step + 1, "loss": round(sum(recent) / len(recent), 4)}
            recent = []
            if (step + 1) % check_every == 0 or last:
                for kind, wording in _QUICK_CHECKS[settings.mixture]:
                    samples = check_samples(kind, 128, "quick", wording=wording, noted=("calibration",))
                    point[f"{kind}/{wording}"] = round(exact_share(model, tokenizer, samples), 3)
            point["seconds"] = round(time.monotonic() - began)
            curve.append(point)
            _log.info("%s %s", settings.mixture, json.dumps(point))
    report = {
        "train_s": round(time.monotonic() - began, 1),
        "curve": curve,
        "settings": settings.model_dump(),
    }
    save_state({"model": _language_state(model), "report": report}, done)
    partial.unlink(missing_ok=True)
    return report


_TOWER = "model.vision_model."


def _language_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """All weights but the frozen tower's."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(_TOWER)}


def _load_language(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith(_TOWER) for name in missing), (missing, unexpected)
