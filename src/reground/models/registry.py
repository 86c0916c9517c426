"""Which models exist. Listing them imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reground.errors import InputError, UnknownNameError
from reground.models.base import ALL_CAPABILITIES, Capability, Model
from reground.models.loading import CheckpointSpec, parse_checkpoint

__all__ = ["MODELS", "MODEL_FAMILIES", "ModelEntry", "check_placement", "load_model", "model_entry"]


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry.

    Attributes:
        loader: ``module:function``, called with the spec, ``dtype`` and ``device``; imported when a model is
            loaded.
        capabilities: What the model will offer, known without loading it.
        summary: One line for a person.
        has_weights: Whether there are weights, so that ``dtype`` and ``device`` mean something.
        limits_chains: Whether a chain can be given a token budget.
        check: ``module:function`` that raises InputError for a spec of a family that cannot be; None: the prefix and
            something behind it will do.
        lacks: ``module:function`` from a spec of a family to what it will not offer of these capabilities.
    """

    loader: str
    capabilities: frozenset[Capability]
    summary: str
    has_weights: bool = True
    limits_chains: bool = True
    check: str | None = None
    lacks: str | None = None


_TEXT: frozenset[Capability] = frozenset({"generate", "score", "logits", "notes"})
_WORDS: frozenset[Capability] = frozenset({"generate", "score", "notes"})

MODELS: dict[str, ModelEntry] = {
    "phantom-med": ModelEntry(
        "reground.models.registry:_load_phantom",
        ALL_CAPABILITIES,
        "Built-in vision-language model of the phantom clinic; ships with the package.",
    ),
    "phantom-general": ModelEntry(
        "reground.models.registry:_load_phantom",
        ALL_CAPABILITIES,
        "Built-in vision-language model of shapes, colours and counts; ships with the package.",
    ),
    "scripted:demo": ModelEntry(
        "reground.models.registry:_load_scripted",
        _TEXT,
        "Answers from a small table, without weights: for tests and dry runs.",
        has_weights=False,
    ),
}

#: Names that carry an address: what follows the prefix is the user's.
MODEL_FAMILIES: dict[str, tuple[str, ModelEntry]] = {
    "hf:": (
        "hf:ORG/NAME-or-directory",
        ModelEntry(
            "reground.models.registry:_load_hf",
            ALL_CAPABILITIES,
            "Any checkpoint of a known family, from the hub or a directory; @REVISION and ?OPTIONS may follow.",
            lacks="reground.models.loading:lacking",
        ),
    ),
    "endpoint:": (
        "endpoint:URL#NAME",
        ModelEntry(
            "reground.models.registry:_load_endpoint",
            _WORDS,
            "A model behind an OpenAI-compatible endpoint; the key comes from the environment; ?OPTIONS may follow.",
            has_weights=False,
            limits_chains=False,
            check="reground.models.endpoint.spec:check_spec",
            lacks="reground.models.endpoint.spec:lacking",
        ),
    ),
}


def model_entry(spec: str) -> ModelEntry:
    """The registry line a model name belongs to, without the capabilities that this one of a family will lack.

    Raises:
        UnknownNameError: No model or family has that name; the nearest is suggested.
        InputError: A family is named, but nothing in it, or nothing that can be; or an option of it does not fit.
    """
    if spec in MODELS:
        return MODELS[spec]
    for prefix, (pattern, entry) in MODEL_FAMILIES.items():
        if spec.startswith(prefix):
            if not spec.removeprefix(prefix).strip():
                raise InputError(f"the model {spec!r} names nothing.", pattern, "add what follows the colon.")
            if entry.check is not None:
                module, _, function = entry.check.partition(":")
                _imported(module, function)(spec)
            if entry.lacks is None:
                return entry
            module, _, function = entry.lacks.partition(":")
            capabilities = entry.capabilities - _imported(module, function)(spec)
            has_engine = spec.startswith("hf:") and parse_checkpoint(spec).options.engine is not None
            return replace(entry, capabilities=capabilities, limits_chains=entry.limits_chains and not has_engine)
    raise UnknownNameError("model", spec, [*MODELS, *(pattern for pattern, _ in MODEL_FAMILIES.values())])


def check_placement(spec: str, dtype: str | None, device: str | None) -> None:
    """Nothing, if a number format and a device mean something for a model, or none were given.

    Raises:
        UnknownNameError: No such model.
        InputError: ``dtype`` or ``device`` was given for a model without weights, or its name says it already.
    """
    entry = model_entry(spec)
    given: Mapping[str, str | None] = {"dtype": dtype, "device": device}
    for key, value in given.items():
        if value is not None and not entry.has_weights:
            raise InputError(
                f"model {spec!r} was given {key}={value!r}, but has no weights.",
                f"no {key}",
                f"leave {key} out.",
            )
        if value is not None and spec.startswith("hf:"):
            options = parse_checkpoint(spec).options
            if getattr(options, key) is not None or (key == "device" and options.device_map is not None):
                raise InputError(
                    f"model {spec!r} was given {key}={value!r} besides what its name says of that.",
                    "one of the two",
                    f"leave {key} out, or take it out of the name.",
                )


def load_model(spec: str, *, dtype: str | None = None, device: str | None = None) -> Model:
    """A model, ready to answer.

    Args:
        spec: A name from ``MODELS``, or one of a family such as ``hf:ORG/NAME``.
        dtype: Number format of the weights, e.g. ``bfloat16``; None: as stored.
        device: E.g. ``cpu`` or ``cuda:0``; None: the adapter chooses.

    Raises:
        UnknownNameError: No such model.
        InputError: ``dtype`` or ``device`` was given for a model without weights.
        ModelError: The weights cannot be loaded or are not finite.
        EndpointError: An endpoint cannot be reached or refuses.
    """
    check_placement(spec, dtype, device)
    entry = model_entry(spec)
    module, _, function = entry.loader.partition(":")
    model: Model = getattr(importlib.import_module(module), function)(spec, dtype, device)
    return model


def _load_scripted(spec: str, dtype: str | None, device: str | None) -> Model:
    from reground.models.scripted import load_scripted_model

    return load_scripted_model(spec.removeprefix("scripted:"))


def _load_phantom(spec: str, dtype: str | None, device: str | None) -> Model:
    weights_folder = _imported("reground.models.phantom", "weights_folder")
    return _load_checkpoint(CheckpointSpec(source=str(weights_folder(spec))), spec, dtype, device)


def _load_hf(spec: str, dtype: str | None, device: str | None) -> Model:
    return _load_checkpoint(parse_checkpoint(spec), spec, dtype, device)


def _load_endpoint(spec: str, dtype: str | None, device: str | None) -> Model:
    model: Model = _imported("reground.models.endpoint.model", "load_endpoint_model")(spec)
    return model


def _load_checkpoint(checkpoint: CheckpointSpec, name: str, dtype: str | None, device: str | None) -> Model:
    if checkpoint.options.engine is not None:
        return _load_engine(checkpoint, name, dtype, device)
    load_hf_model = _imported("reground.models.hf.adapter", "load_hf_model")
    options = checkpoint.options.model_dump(exclude_none=True, exclude={"engine"})
    options.update({key: value for key, value in {"dtype": dtype, "device": device}.items() if value is not None})
    model: Model = load_hf_model(checkpoint.source, name=name, revision=checkpoint.revision, **options)
    return model


def _load_engine(checkpoint: CheckpointSpec, name: str, dtype: str | None, device: str | None) -> Model:
    if device is not None:
        raise InputError(
            f"model {name!r} was given device={device!r}; vLLM chooses its device.", "no device", "leave device out."
        )
    options = checkpoint.options if dtype is None else checkpoint.options.model_copy(update={"dtype": dtype})
    load_vllm_model = _imported("reground.models.hf.vllm_engine", "load_vllm_model")
    model: Model = load_vllm_model(checkpoint.model_copy(update={"options": options}), name)
    return model


def _imported(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
