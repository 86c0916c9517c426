"""Which methods exist. Listing them imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reground.edits.misfits import accepted_words, shown
from reground.errors import InputError, RecipeError, UnknownNameError, nearest
from reground.methods.artifact import FitConfig, Learned, TrainedConfig
from reground.methods.base import ChainStyle, Editor, MethodConfig
from reground.models.base import Capability

__all__ = [
    "METHODS",
    "FitEntry",
    "MethodEntry",
    "create_config",
    "create_editor",
    "create_fit_config",
    "find_artifact",
    "fit_entry",
    "method_entry",
    "trained_methods",
]


@dataclass(frozen=True)
class FitEntry:
    """How a trained method is trained.

    Attributes:
        config: ``module:Class`` of the settings; importing it must not import torch.
        function: ``module:function``, called with model, data, settings and folder; returns the artifact.
        preset: Settings that make this name a variant.
    """

    config: str
    function: str
    preset: Mapping[str, Any]


@dataclass(frozen=True)
class MethodEntry:
    """One line of the registry.

    Attributes:
        config: ``module:Class`` of the settings; importing it must not import torch.
        editor: ``module:Class`` of the editor, imported when the method is used.
        needs: What the model must offer.
        summary: One line for a person.
        preset: Settings that make this name a variant of its editor.
        fit: How it is trained before it can edit; None if it is not.
        defaults: Settings that have another default under this name than in the config.
        chain: How it adds an edit to those in force.
        asks_the_original: Whether its edited models are ``AsksTheOriginal``, so that several can be asked in one call.
    """

    config: str
    editor: str
    needs: frozenset[Capability]
    summary: str
    preset: Mapping[str, Any]
    fit: FitEntry | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    chain: ChainStyle = "anew"
    asks_the_original: bool = False


_CONTEXT: frozenset[Capability] = frozenset({"generate", "notes"})
_WEIGHTS: frozenset[Capability] = frozenset({"generate", "score", "weights"})
_FLOATS: frozenset[Capability] = _WEIGHTS | {"float_weights"}

METHODS: dict[str, MethodEntry] = {
    "none": MethodEntry(
        "reground.methods.none.config:NoneConfig",
        "reground.methods.none.editor:NoneEditor",
        frozenset({"generate"}),
        "No edit: the floor every method is compared with.",
        {},
        asks_the_original=True,
    ),
    "prompt": MethodEntry(
        "reground.methods.prompt.config:PromptConfig",
        "reground.methods.prompt.editor:PromptEditor",
        _CONTEXT,
        "The edit stated in every prompt, relevant or not.",
        {},
        asks_the_original=True,
    ),
    "ike": MethodEntry(
        "reground.methods.ike.config:IkeConfig",
        "reground.methods.ike.editor:IkeEditor",
        _CONTEXT,
        "Retrieved demonstrations and the retrieved new fact before the question.",
        {"facts": "retrieved"},
        asks_the_original=True,
    ),
    "ike-gold": MethodEntry(
        "reground.methods.ike.config:IkeConfig",
        "reground.methods.ike.editor:IkeEditor",
        _CONTEXT,
        "The same with the new fact always given, never retrieved: an upper bound.",
        {"facts": "gold", "min_similarity": -1.0},
        asks_the_original=True,
    ),
    "ft": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _FLOATS,
        "Fine-tune chosen MLP layers on the new answer alone, as the field does.",
        {"target": "answer", "part": "text", "objective": "target_new"},
        chain="in_place",
    ),
    "ft-l": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _FLOATS,
        "Fine-tune the same layers to predict the whole answer at the last token of the prompt.",
        {"target": "answer", "part": "text", "objective": "prompt_last", "ends": False},
        chain="in_place",
    ),
    "ft-chain": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _FLOATS,
        "Fine-tune the same layers on the model's own chain with the fact replaced, and the answer.",
        {"target": "chain", "part": "text", "objective": "target_new"},
        chain="in_place",
    ),
    "ft-vision": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _FLOATS,
        "Fine-tune chosen layers of the vision tower on the new answer; visual edits alone.",
        {"target": "answer", "part": "vision"},
        defaults={"modules": ["mlp"], "learning_rate": 1e-3},
        chain="in_place",
    ),
    "ft-projector": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _FLOATS,
        "Fine-tune the projector between vision tower and text model on the new answer; visual edits alone.",
        {"target": "answer", "part": "projector", "layers": None, "modules": None},
        defaults={"learning_rate": 1e-3},
        chain="in_place",
    ),
    "lora": MethodEntry(
        "reground.methods.lora.config:LoraConfig",
        "reground.methods.lora.editor:LoraEditor",
        _WEIGHTS,
        "Train a low-rank adapter on the new answer alone.",
        {"target": "answer"},
        chain="in_place",
    ),
    "lora-chain": MethodEntry(
        "reground.methods.lora.config:LoraConfig",
        "reground.methods.lora.editor:LoraEditor",
        _WEIGHTS,
        "Train a low-rank adapter on the model's own chain with the fact replaced, and the answer.",
        {"target": "chain"},
        chain="in_place",
    ),
    "mend": MethodEntry(
        "reground.methods.mend.config:MendConfig",
        "reground.methods.mend.editor:MendEditor",
        _FLOATS,
        "One step along the gradient of the new answer, transformed by a network trained for that.",
        {},
        FitEntry(
            "reground.methods.mend.config:MendFitConfig", "reground.methods.mend.fit:fit_mend", {"target": "answer"}
        ),
        chain="in_place",
    ),
    "serac": MethodEntry(
        "reground.methods.serac.config:SeracConfig",
        "reground.methods.serac.editor:SeracEditor",
        _FLOATS | {"hidden_states", "notes"},
        "Edits in a memory; a trained classifier picks the one a query concerns, a second model answers.",
        {},
        FitEntry("reground.methods.serac.config:SeracFitConfig", "reground.methods.serac.fit:fit_serac", {}),
    ),
    "liveedit": MethodEntry(
        "reground.methods.liveedit.config:LiveEditConfig",
        "reground.methods.liveedit.editor:LiveEditEditor",
        _WEIGHTS | {"hidden_states", "image_tokens"},
        "A low-rank expert generated for each edit; a trained router picks by image, then weighs by question.",
        {},
        FitEntry(
            "reground.methods.liveedit.config:LiveEditFitConfig", "reground.methods.liveedit.fit:fit_liveedit", {}
        ),
    ),
    "crane": MethodEntry(
        "reground.methods.crane.config:CraneConfig",
        "reground.methods.crane.editor:CraneEditor",
        _CONTEXT | {"weights"},
        "Edit cards in a library, given to the questions that concern them and read by a trained policy.",
        {},
        chain="in_place",
    ),
    "crane-prompt": MethodEntry(
        "reground.methods.crane.config:CranePromptConfig",
        "reground.methods.crane.editor:CranePromptEditor",
        _CONTEXT,
        "The same cards for any model that reads notes, without training.",
        {},
        chain="in_place",
    ),
    "grace": MethodEntry(
        "reground.methods.grace.config:GraceConfig",
        "reground.methods.grace.editor:GraceEditor",
        _WEIGHTS,
        "A codebook at one layer: keys with radii, and values that take over within them.",
        {},
        chain="carried",
    ),
    "wise": MethodEntry(
        "reground.methods.wise.config:WiseConfig",
        "reground.methods.wise.editor:WiseEditor",
        _FLOATS,
        "A side memory beside one weight, and a router that sends each prompt through one of the two.",
        {},
    ),
    "rome": MethodEntry(
        "reground.methods.rome.config:RomeConfig",
        "reground.methods.rome.editor:RomeEditor",
        _FLOATS,
        "Write each edit into one MLP layer as a rank-one update, sparing the keys of a corpus.",
        {},
        chain="in_place",
    ),
    "memit": MethodEntry(
        "reground.methods.memit.config:MemitConfig",
        "reground.methods.memit.editor:MemitEditor",
        _FLOATS,
        "Write all edits together, a share into each of a few MLP layers, sparing the keys of a corpus.",
        {},
        chain="in_place",
    ),
    "alphaedit": MethodEntry(
        "reground.methods.alphaedit.config:AlphaEditConfig",
        "reground.methods.alphaedit.editor:AlphaEditEditor",
        _FLOATS,
        "The same along those directions alone that the keys of a corpus leave free, sparing its earlier edits.",
        {},
        chain="in_place",
    ),
}


def method_entry(name: str) -> MethodEntry:
    """The registry line of ``name``.

    Raises:
        UnknownNameError: No method has that name; the nearest is suggested.
    """
    try:
        return METHODS[name]
    except KeyError:
        raise UnknownNameError("method", name, METHODS) from None


def create_config(name: str, settings: Mapping[str, Any] | None = None) -> MethodConfig:
    """The checked settings of a method, its preset included; imports its config and not its editor.

    Args:
        name: A name from ``METHODS``.
        settings: Fields of the method's config that differ from its defaults.

    Raises:
        UnknownNameError: No such method.
        RecipeError: A setting is unknown, ill-typed, or fixed by the method's name.
    """
    entry = method_entry(name)
    config: MethodConfig = _checked(name, entry.config, entry.preset, {**entry.defaults, **(settings or {})})
    return config


def trained_methods() -> tuple[str, ...]:
    """Names of the methods that have to be trained before they can edit."""
    return tuple(name for name, entry in METHODS.items() if entry.fit is not None)


def fit_entry(name: str) -> FitEntry:
    """How a method is trained.

    Raises:
        UnknownNameError: No method has that name.
        InputError: It needs no training.
    """
    entry = method_entry(name).fit
    if entry is None:
        raise InputError(
            f"method {name!r} was to be trained; it edits without having been.",
            ", ".join(trained_methods()),
            f"use {name!r} as it is.",
        )
    return entry


def create_fit_config(name: str, settings: Mapping[str, Any] | None = None) -> FitConfig:
    """The checked settings of a method's training; imports its config and nothing else of it.

    Args:
        name: A method that is trained.
        settings: Fields that differ from their defaults.

    Raises:
        UnknownNameError: No such method.
        InputError: It needs no training.
        RecipeError: A setting is unknown, ill-typed, or fixed by the method's name.
    """
    entry = fit_entry(name)
    config = _checked(name, entry.config, entry.preset, settings)
    assert isinstance(config, FitConfig)
    return config


def find_artifact(name: str, settings: Mapping[str, Any] | None, model_name: str) -> Learned | None:
    """What is known of what a method learned for a model, tensors unread; None for a method that needs nothing.

    Raises:
        ArtifactError: The method has not been trained for the model.
    """
    config = create_config(name, settings)
    return config.learned(name, model_name) if isinstance(config, TrainedConfig) else None


def _checked(name: str, config_path: str, preset: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Any:
    given = dict(settings or {})
    for key in given.keys() & preset.keys():
        if given[key] != preset[key]:
            raise RecipeError(
                f"method {name!r} was given {key}={given[key]!r}.",
                f"{key}={preset[key]!r}, which is what the name {name!r} means",
                f"drop {key!r} from the settings or choose another method name.",
            )
    config_class: type[MethodConfig] = _load(config_path)
    try:
        return config_class.model_validate({**given, **preset})
    except ValidationError as error:
        raise _misfit(name, config_class, error.errors(include_url=False)[0]) from error


def create_editor(name: str, settings: Mapping[str, Any] | None = None) -> Editor:
    """An editor with its settings.

    Args:
        name: A name from ``METHODS``.
        settings: Fields of the method's config that differ from its defaults.

    Raises:
        UnknownNameError: No such method.
        RecipeError: A setting is unknown, ill-typed, or fixed by the method's name.
    """
    config = create_config(name, settings)
    editor: Editor = _load(method_entry(name).editor)(name, config)
    return editor


def _misfit(name: str, config_class: type[MethodConfig], detail: ErrorDetails) -> RecipeError:
    setting = ".".join(str(part) for part in detail["loc"])
    known = sorted(config_class.model_fields)
    look = f"run `reground methods show {name}` for the settings, their meaning and defaults."
    if detail["type"] == "extra_forbidden":
        near = nearest(setting, known)
        hint = f"did you mean {near!r}?" if near else look
        return RecipeError(f"method {name!r} has no setting {setting!r}.", ", ".join(known) or "no settings", hint)
    given = f"{setting}={shown(detail['input'])}" if setting else "settings that contradict one another"
    return RecipeError(f"method {name!r} was given {given}.", accepted_words(config_class, detail), look)


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
