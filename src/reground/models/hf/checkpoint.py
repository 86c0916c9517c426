"""What is checked and read of a checkpoint before and just after its weights are loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedConfig

from reground.edits.misfits import misfit_words
from reground.errors import InputError, MissingExtraError, ModelError
from reground.models.base import Delimiters

__all__ = [
    "align_memory",
    "check_finite",
    "check_size",
    "folder_revision",
    "is_finite",
    "keep_as_packed",
    "outlined_size",
    "parse_device",
    "parse_dtype",
    "placement",
    "read_delimiters",
    "resolve_source",
]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: Bytes of each end of a weights file that go into a folder's revision.
_SAMPLE_BYTES = 1 << 20

#: How many times the parameters stored a config may call for; packed formats hold up to eight in one number.
_MOST_PACKED = 16

#: Says of a layer of bitsandbytes whether it may be packed in another way.
_PACKS_ANEW = "support_avx512bf16_for_cpu"


def resolve_source(path_or_name: str) -> tuple[str, Path | None]:
    """What to hand to ``from_pretrained``, and the folder if it is one.

    Raises:
        ModelError: It reads as a path, but no checkpoint is there.
    """
    folder = Path(path_or_name).expanduser()
    is_hub_name = path_or_name.count("/") == 1 and not path_or_name.startswith((".", "~", os.sep))
    try:
        is_there, is_folder = folder.exists(), folder.is_dir()
    except OSError:  # such as a name longer than the file system takes
        is_there = is_folder = False
    if not is_there and is_hub_name:
        return path_or_name, None
    if not is_folder:
        raise ModelError(
            f"no checkpoint folder at {path_or_name!r}.",
            "a folder written by save_pretrained, or a hub name such as org/name",
            "check the path; `reground models list` shows the built-in models.",
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{path_or_name!r} is a folder without a config.json, so it is not a checkpoint.",
            "a folder with config.json, weights and the processor's files",
            "point at the folder that save_pretrained wrote, for model and processor both.",
        )
    return str(folder), folder


def parse_dtype(name: str | None) -> torch.dtype | str:
    """The number format of that name, or ``auto`` (as stored) for None.

    Raises:
        InputError: Not a name of a number format.
    """
    if name is None:
        return "auto"
    if name not in _DTYPES:
        raise InputError(
            f"dtype {name!r} was asked for.",
            ", ".join(_DTYPES),
            "leave it out to keep the dtype of the weights.",
        )
    return _DTYPES[name]


def parse_device(name: str | None) -> torch.device:
    """The device of that name; CUDA where there is one, else the CPU, for None.

    Raises:
        InputError: Not a device, or one this machine does not have.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"device {name!r} was asked for; it cannot be used here.",
            "cpu, or a device that torch sees on this machine, e.g. cuda:0",
            "leave it out to take the best one there is.",
        ) from error
    return device


def placement(
    device_map: str | Mapping[str, Any] | None, quantization: str | None, device: torch.device
) -> dict[str, Any]:
    """What ``from_pretrained`` is told about where weights go and how they are packed.

    Packed weights cannot be moved as a whole afterwards, so they go to their device as they are read.

    Raises:
        InputError: Not a way of packing.
        MissingExtraError: What packs them is not installed.
    """
    if quantization is None:
        return {} if device_map is None else {"device_map": device_map}
    if quantization not in ("4bit", "8bit"):
        raise InputError(
            f"quantization {quantization!r} was asked for.", "4bit, 8bit", "leave it out to keep the weights as stored."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "quantize", f"loading weights in {quantization}")
    packed = BitsAndBytesConfig(load_in_4bit=quantization == "4bit", load_in_8bit=quantization == "8bit")
    return {"device_map": {"": device} if device_map is None else device_map, "quantization_config": packed}


def outlined_size(config: PreTrainedConfig) -> int:
    """How many parameters a config calls for; the model is only outlined."""
    with torch.device("meta"):
        outline = AutoModelForImageTextToText.from_config(config)
    return sum(parameter.numel() for parameter in outline.parameters())


def check_size(wanted: int, folder: Path, source: str) -> None:
    """Nothing, unless a config calls for a far larger model, of so many parameters, than the folder's weights fill.

    A config that lost a part (``"text_config": null``) stands for that part's defaults, often billions of parameters,
    which would all be made before anybody noticed that they are not in the file.

    Raises:
        ModelError: It does; the message has both numbers.
    """
    stored = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            stored += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    if stored and wanted > _MOST_PACKED * stored:
        raise ModelError(
            f"config.json at {source!r} calls for {wanted:,} parameters; the weights beside it hold {stored:,}.",
            "a config.json written with these weights",
            "look for a part of config.json that is missing or null, such as text_config, or save the model again.",
        )


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers are finite; nothing as large as the tensor is made on the way."""
    if tensor.is_floating_point() and tensor.element_size() == 1:  # torch has no order of 8-bit floats
        return bool(torch.isfinite(tensor.detach().to(torch.float16)).all())
    return not tensor.numel() or all(math.isfinite(float(end)) for end in torch.aminmax(tensor.detach()))


def check_finite(module: torch.nn.Module, source: str) -> None:
    """Nothing, if every weight is a finite number.

    Raises:
        ModelError: A weight is NaN or infinite; the message names the first such tensor.
    """
    for name, parameter in module.named_parameters():
        if not is_finite(parameter):
            raise ModelError(
                f"the weights at {source!r} are not finite: {name} holds NaN or infinity.",
                "weights that are finite numbers",
                "train or download the checkpoint again; half precision may have overflowed in saving.",
            )


def align_memory(module: torch.nn.Module) -> None:
    """Give every weight on a CPU memory of its own, aligned as torch aligns it.

    Weights mapped from a file lie where the file has them, and matrix kernels round differently for data that
    is not aligned: without this, a copy of a model can differ from the model in the last bit.
    """
    for parameter in module.parameters():
        if parameter.device.type == "cpu" and parameter.is_floating_point():
            parameter.data = parameter.data.clone()


def keep_as_packed(module: torch.nn.Module) -> None:
    """Have weights that bitsandbytes packed into 4 bits stay as they were packed.

    On a CPU that computes in ``bfloat16`` it packs them anew in the first pass without gradients, and back in the first
    one with them, each time with loss: so a model was another one once an editor had trained beside it. It also takes
    no layer there of fewer inputs than it packs at a time.
    """
    for part in module.modules():
        if hasattr(part, _PACKS_ANEW):
            setattr(part, _PACKS_ANEW, False)


def folder_revision(folder: Path) -> str:
    """A content id of a checkpoint folder.

    Small files count whole, weights by their size and both ends of each file, so that large checkpoints open fast.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".jinja", ".safetensors", ".model") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            if size > _SAMPLE_BYTES:
                file.seek(max(size - _SAMPLE_BYTES, _SAMPLE_BYTES))
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()[:16]}"


def read_delimiters(
    tokenizer: Any, folder: Path | None, *, thinking_prompt: str, is_opened: bool = False
) -> Delimiters:
    """How this checkpoint marks chain and answer.

    In order: ``reground.json`` in the folder (``{"delimiters": {...}}``); the tokenizer's own settings under
    the same key; a ``<think>`` token; else the model writes no chain. Whether the chat template opens the
    chain is read off ``thinking_prompt`` unless it was stated.

    Args:
        tokenizer: The checkpoint's own.
        folder: Where it lies; None for a name on the hub.
        thinking_prompt: A prompt as the chat template renders it.
        is_opened: Whether a ``<think>`` token says nothing, and a chain is written only if the prompt opens one.

    Raises:
        ModelError: ``reground.json`` does not hold delimiters.
    """
    stated = _stated_delimiters(tokenizer, folder)
    known = tokenizer.get_vocab()
    opens = "<think>" in known and thinking_prompt.rstrip().endswith("<think>")
    if stated is None and not (opens if is_opened else "<think>" in known):
        return Delimiters(writes_chain=False, answer_open=None, answer_close=None)
    if stated is None:
        has_answer_tags = "<answer>" in known
        stated = {} if has_answer_tags else {"answer_open": None, "answer_close": None}
    try:
        delimiters = Delimiters.model_validate(stated)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelError(
            f"the delimiters of the checkpoint do not fit: {misfit_words(Delimiters, first)}.",
            "fields " + ", ".join(Delimiters.model_fields),
            "correct reground.json in the checkpoint folder.",
        ) from error
    if "template_opens_chain" in stated:
        return delimiters
    opens = thinking_prompt.rstrip().endswith(delimiters.chain_open)
    return delimiters.model_copy(update={"template_opens_chain": opens})


def _stated_delimiters(tokenizer: Any, folder: Path | None) -> dict[str, Any] | None:
    stated: Any = None
    path = folder / "reground.json" if folder else None
    if path is not None and path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            stated = content.get("delimiters")
        except (json.JSONDecodeError, AttributeError, UnicodeDecodeError) as error:
            raise ModelError(
                f"{str(path)!r} cannot be read as settings.",
                'a JSON object such as {"delimiters": {"chain_open": "<think>"}}',
                "correct the file or remove it.",
            ) from error
    if stated is None:
        stated = tokenizer.init_kwargs.get("delimiters")
    if stated is not None and not isinstance(stated, dict):
        raise ModelError(
            f"the delimiters of the checkpoint are {stated!r}.",
            "a JSON object with fields " + ", ".join(Delimiters.model_fields),
            "correct reground.json in the checkpoint folder.",
        )
    return stated
