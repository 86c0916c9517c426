"""Which methods exist. Listing them imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reground.edits.misfits import accepted_words, shown
from reground.errors import RecipeError, UnknownNameError, nearest
from reground.methods.base import Editor, MethodConfig
from reground.models.base import Capability

__all__ = ["METHODS", "MethodEntry", "create_config", "create_editor", "method_entry"]


@dataclass(frozen=True)
class MethodEntry:
    """One line of the registry.

    Attributes:
        config: ``module:Class`` of the settings; importing it must not import torch.
        editor: ``module:Class`` of the editor, imported when the method is used.
        needs: What the model must offer.
        summary: One line for a person.
        preset: Settings that make this name a variant of its editor.
    """

    config: str
    editor: str
    needs: frozenset[Capability]
    summary: str
    preset: Mapping[str, Any]


_CONTEXT: frozenset[Capability] = frozenset({"generate", "notes"})
_WEIGHTS: frozenset[Capability] = frozenset({"generate", "score", "weights"})

METHODS: dict[str, MethodEntry] = {
    "none": MethodEntry(
        "reground.methods.none.config:NoneConfig",
        "reground.methods.none.editor:NoneEditor",
        frozenset({"generate"}),
        "No edit: the floor every method is compared with.",
        {},
    ),
    "prompt": MethodEntry(
        "reground.methods.prompt.config:PromptConfig",
        "reground.methods.prompt.editor:PromptEditor",
        _CONTEXT,
        "The edit stated in every prompt, relevant or not.",
        {},
    ),
    "ft": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _WEIGHTS,
        "Fine-tune chosen MLP layers on the new answer alone, as the field does.",
        {"target": "answer"},
    ),
    "ft-chain": MethodEntry(
        "reground.methods.ft.config:FtConfig",
        "reground.methods.ft.editor:FtEditor",
        _WEIGHTS,
        "Fine-tune the same layers on the model's own chain with the fact replaced, and the answer.",
        {"target": "chain"},
    ),
    "lora": MethodEntry(
        "reground.methods.lora.config:LoraConfig",
        "reground.methods.lora.editor:LoraEditor",
        _WEIGHTS,
        "Train a low-rank adapter on the new answer alone.",
        {"target": "answer"},
    ),
    "lora-chain": MethodEntry(
        "reground.methods.lora.config:LoraConfig",
        "reground.methods.lora.editor:LoraEditor",
        _WEIGHTS,
        "Train a low-rank adapter on the model's own chain with the fact replaced, and the answer.",
        {"target": "chain"},
    ),
    "grace": MethodEntry(
        "reground.methods.grace.config:GraceConfig",
        "reground.methods.grace.editor:GraceEditor",
        _WEIGHTS,
        "A codebook at one layer: keys with radii, and values that take over within them.",
        {},
    ),
    "wise": MethodEntry(
        "reground.methods.wise.config:WiseConfig",
        "reground.methods.wise.editor:WiseEditor",
        _WEIGHTS,
        "A side memory beside one weight, and a router that sends each prompt through one of the two.",
        {},
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
    given = dict(settings or {})
    for key in given.keys() & entry.preset.keys():
        if given[key] != entry.preset[key]:
            raise RecipeError(
                f"method {name!r} was given {key}={given[key]!r}.",
                f"{key}={entry.preset[key]!r}, which is what the name {name!r} means",
                f"drop {key!r} from the settings or choose another method name.",
            )
    config_class: type[MethodConfig] = _load(entry.config)
    try:
        return config_class.model_validate({**given, **entry.preset})
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
    field = ".".join(str(part) for part in detail["loc"])
    known = sorted(config_class.model_fields)
    look = f"run `reground methods show {name}` for the settings, their meaning and defaults."
    if detail["type"] == "extra_forbidden":
        near = nearest(field, known)
        hint = f"did you mean {near!r}?" if near else look
        return RecipeError(f"method {name!r} has no setting {field!r}.", ", ".join(known) or "no settings", hint)
    given = f"{field}={shown(detail['input'])}" if field else "settings that contradict one another"
    return RecipeError(f"method {name!r} was given {given}.", accepted_words(config_class, detail), look)


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
