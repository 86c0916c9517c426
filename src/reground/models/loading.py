"""How a checkpoint is named and loaded: ``hf:ORG/NAME@REVISION?key=value&...``, read without importing torch.

What follows the question mark says how the weights are loaded. It is a part of the model's name, so that every result
says of itself which revision, number format and limits it was made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from reground.edits.misfits import accepted_words, rename_hint
from reground.edits.records import Record
from reground.errors import InputError
from reground.models.base import Capability

__all__ = ["VLLM_CAPABILITIES", "CheckpointSpec", "LoadingOptions", "lacking", "parse_checkpoint", "with_engine"]

#: What families do not offer that others do, by the ``model_type`` of their config; families say the same of them.
_LACKED_BY_FAMILY: dict[str, frozenset[Capability]] = {"mllama": frozenset({"image_tokens"})}


#: What a checkpoint offers whose answers and scores come from vLLM.
VLLM_CAPABILITIES: frozenset[Capability] = frozenset({"generate", "score", "notes", "begun_chains"})


class LoadingOptions(Record):
    """How the weights of a checkpoint are loaded; None leaves it to the checkpoint or to the machine.

    Attributes:
        dtype: Number format of the weights.
        device: Where to run, e.g. ``cuda:0``.
        device_map: Spreads the layers over devices as ``accelerate`` does, e.g. ``auto``; not together with ``device``.
        quantization: Packs the weights of linear layers, by bitsandbytes. Methods that change weights in place then do
            not apply.
        attention: Which implementation of attention runs.
        max_pixels: A picture of more pixels is made smaller first; refused by families that bring every picture to
            one size.
        offline: Take what is in the local cache and ask no server.
        engine: What generates; None: ``transformers``. With another there are no weights to reach.
    """

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    device: Annotated[str, Field(min_length=1)] | None = None
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    quantization: Literal["4bit", "8bit"] | None = None
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    offline: bool = False
    engine: Literal["vllm"] | None = None

    @property
    def unheeded_by_engine(self) -> tuple[str, ...]:
        """Options given that the engine does not take."""
        if self.engine is None:
            return ()
        return tuple(name for name in ("device", "quantization", "attention") if getattr(self, name) is not None)


class CheckpointSpec(Record):
    """What ``hf:...`` names.

    Attributes:
        source: A folder, or a name on the hub.
        revision: Branch, tag or commit on the hub; None for its main branch, and for folders.
        options: How it is loaded.
    """

    source: str
    revision: str | None = None
    options: LoadingOptions = LoadingOptions()


def parse_checkpoint(spec: str) -> CheckpointSpec:
    """What the name of a checkpoint says.

    A folder that exists is taken as it is written, so a folder's name may hold ``@`` and ``?``.

    Args:
        spec: Such as ``hf:ORG/NAME``, ``hf:ORG/NAME@REVISION?dtype=bfloat16&max_pixels=1003520`` or ``hf:FOLDER``.

    Raises:
        InputError: An option is unknown, given twice or out of range, or a folder is given a revision.
    """
    named = spec.removeprefix("hf:")
    if _is_folder(named):
        return CheckpointSpec(source=named)
    address, query = named.rsplit("?", 1) if "?" in named else (named, "")
    options = _options(spec, query)
    if _is_folder(address):
        return CheckpointSpec(source=address, options=options)
    source, at, revision = address.rpartition("@")
    if not at:
        return CheckpointSpec(source=address, options=options)
    if _is_folder(source) or source.count("/") != 1 or not revision:
        raise InputError(
            f"the model {spec!r} asks for the revision {revision!r} of {source!r}.",
            "a branch, tag or commit of a name on the hub: hf:ORG/NAME@REVISION",
            "drop the @ for a folder, which is what it is.",
        )
    return CheckpointSpec(source=source, revision=revision, options=options)


def with_engine(spec: str, engine: str | None) -> str:
    """The name of the same checkpoint, answered by an engine.

    Args:
        spec: As for ``parse_checkpoint``.
        engine: Such as ``vllm``; None: the name stays as it is.

    Raises:
        InputError: No checkpoint, or one whose name says already what answers; or no such engine.

    Example:
        >>> with_engine("hf:ORG/NAME?max_pixels=1003520", "vllm")
        'hf:ORG/NAME?max_pixels=1003520&engine=vllm'
    """
    if engine is None:
        return spec
    if not spec.startswith("hf:"):
        raise InputError(
            f"the model {spec!r} was to be answered by the engine {engine!r}.",
            "a checkpoint: hf:ORG/NAME or hf:FOLDER",
            "drop --engine; what is built in, or behind an endpoint, has an engine of its own.",
        )
    has_options = not _is_folder(spec.removeprefix("hf:")) and "?" in spec
    named = f"{spec}{'&' if has_options else '?'}engine={engine}"
    parse_checkpoint(named)
    return named


def lacking(spec: str) -> frozenset[Capability]:
    """What a checkpoint will not offer, as far as can be told without loading it.

    Its config is read where it is at hand: in its folder, or in the local cache of the hub.

    Args:
        spec: As for ``parse_checkpoint``.

    Raises:
        InputError: It does not fit.
    """
    checkpoint = parse_checkpoint(spec)
    if checkpoint.options.engine is not None:
        return frozenset(get_args(Capability)) - VLLM_CAPABILITIES
    config = _config_at_hand(checkpoint)
    lacked = _LACKED_BY_FAMILY.get(str(config.get("model_type")), frozenset())
    is_packed = checkpoint.options.quantization is not None or bool(config.get("quantization_config"))
    return lacked | {"float_weights"} if is_packed else lacked


def _options(spec: str, query: str) -> LoadingOptions:
    pairs = parse_qsl(query, keep_blank_values=True)
    known = LoadingOptions.model_fields
    for key, _ in pairs:
        if key not in known:
            raise InputError(
                f"the model {spec!r} is given the unknown option {key!r}.",
                ", ".join(known),
                rename_hint(key, known),
            )
    if len(dict(pairs)) < len(pairs):
        raise InputError(f"the model {spec!r} is given an option twice.", "each option once", "drop one of the two.")
    try:
        options = LoadingOptions.model_validate(dict(pairs), strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            f"the model {spec!r} has an option that does not fit: {first['loc'][0]}={first['input']!r}.",
            accepted_words(LoadingOptions, first),
            "correct it, or drop it for the default.",
        ) from error
    if options.device is not None and options.device_map is not None:
        raise InputError(
            f"the model {spec!r} is given both device and device_map.", "one of them", "drop one of the two."
        )
    if options.unheeded_by_engine:
        raise InputError(
            f"the model {spec!r} is given {', '.join(options.unheeded_by_engine)} beside engine={options.engine}.",
            "dtype, device_map, max_pixels and offline beside an engine",
            "drop it, or the engine.",
        )
    return options


def _config_at_hand(spec: CheckpointSpec) -> Mapping[str, Any]:
    """The config as JSON; empty where it cannot be read, which loading will say better."""
    try:
        path = _config_path(spec)
        config = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _config_path(spec: CheckpointSpec) -> Path | None:
    if _is_folder(spec.source):
        return Path(spec.source).expanduser() / "config.json"
    if spec.source.count("/") != 1:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.source, "config.json", revision=spec.revision)
    return Path(found) if isinstance(found, str) else None


def _is_folder(path: str) -> bool:
    try:
        return bool(path) and Path(path).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, or no such user's home
        return False
