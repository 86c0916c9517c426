"""Recipes: complete, named descriptions of a run, from which a published number can be had again.

Built-in recipes live inside the package (``reground/recipes/NAME.yaml``) and not beside it, so that an
installed wheel can run every recipe a published number names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from reground.edits.misfits import accepted_words, fields_at, kind_of, rename_hint, shown
from reground.edits.records import Record, content_id
from reground.errors import RecipeError, UnknownNameError
from reground.evaluation.protocol import ProtocolSettings
from reground.runner.schedules import REFERENCE, Lifelong, Schedule, Sequential

__all__ = [
    "GRID_AXES",
    "BenchmarkChoice",
    "MethodChoice",
    "Recipe",
    "load_recipe",
    "read_recipe",
    "read_settings",
    "recipe_names",
    "recipe_of",
]

#: Keys that make a recipe a grid, and what each gives several of.
GRID_AXES: Mapping[str, str] = {"models": "model", "benchmarks": "benchmark", "seeds": "seed"}
_SINGLE_OF_AXIS = {**GRID_AXES, **{single: axis for axis, single in GRID_AXES.items()}}

_METHODS = "a list of method names, or a mapping of each to its settings"
_METHOD_KEY = "method"
_IS_VARIANT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_+-]*$")
_IS_RUN = re.compile(r"^benchmark\s*:", re.MULTILINE)
_CHAINS: Mapping[Any, type[Sequential] | type[Lifelong]] = {"sequential": Sequential, "lifelong": Lifelong}
_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class BenchmarkChoice(Record):
    """Which edits of which benchmark. In YAML its name alone will do.

    Attributes:
        name: A registered name, ``FORMAT:PATH`` of a published data set, or a folder with ``edits.jsonl`` and
            ``probes.jsonl``.
        split: Which split.
        limit: At most so many edits; None: all of the split.
        seed: Seed of the sample that ``limit`` takes.
        zero_shot_filter: Whether only edits count whose question the unedited model gets wrong; ``limit`` then is the
            number of those, taken in the order of the whole split.
        image_root: Folder of a published data set's images; None: that of its records.
    """

    name: _Name
    split: _Name = "test"
    limit: Annotated[int, Field(ge=1, strict=True)] | None = None
    seed: int = Field(default=0, ge=0, strict=True)
    zero_shot_filter: bool = Field(default=False, strict=True)
    image_root: _Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class MethodChoice:
    """A method and its settings, under the name that the rows of a run give it.

    Attributes:
        name: That name: the method's own, or that of a variant.
        method: The registered name.
        settings: Fields of the method's config that differ from its defaults.
    """

    name: str
    method: str
    settings: Mapping[str, Any]

    @property
    def is_variant(self) -> bool:
        """Whether the method goes by another name than its own."""
        return self.name != self.method


class Recipe(Record):
    """Everything that decides what a run computes.

    Attributes:
        name: Name of the recipe; also of the run directory unless another is given.
        description: What the run is for, in a sentence.
        model: Name of the model, e.g. ``phantom-med`` or ``hf:ORG/NAME``.
        benchmark: What is edited and asked.
        methods: Settings by method name; a list of names stands for their defaults. A variant of a method has a name
            of its own, and the method's in its settings: ``ft-long: {method: ft, num_steps: 100}``.
        schedule: ``single``: edit, probe, restore. ``sequential`` and ``lifelong``: chains of edits; the name alone
            stands for their defaults.
        seed: From which the seed of every step follows.
        protocol: How probes are decoded and scored.
        dtype: Number format of the weights; None: as stored.
        device: Where to run; None: the adapter chooses.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    model: _Name
    benchmark: BenchmarkChoice
    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    schedule: Schedule = "single"
    seed: int = Field(default=0, ge=0, strict=True)
    protocol: ProtocolSettings = ProtocolSettings()
    dtype: str | None = None
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_method_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        methods = value.get("methods")
        if isinstance(methods, list) and all(isinstance(name, str) for name in methods):
            if len(set(methods)) < len(methods):
                raise ValueError("each method is listed once")
            methods = dict.fromkeys(methods)
        if isinstance(methods, dict):
            methods = {name: {} if settings is None else settings for name, settings in methods.items()}
        return value if methods is None else {**value, "methods": methods}

    @field_validator("methods")
    @classmethod
    def _check_variants(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in value.items():
            if _METHOD_KEY not in settings:
                continue
            method = settings[_METHOD_KEY]
            if not isinstance(method, str) or not method:
                raise ValueError(f"in {name}, the name of a method as its {_METHOD_KEY}")
            if name == REFERENCE or not _IS_VARIANT.match(name):
                raise ValueError(f"names of letters, digits, _, + and -, other than {REFERENCE!r}")
        return value

    @field_validator("schedule", mode="before")
    @classmethod
    def _read_schedule(cls, value: Any) -> Any:
        if isinstance(value, Sequential | Lifelong) or value == "single":
            return value
        fields = {"name": value} if isinstance(value, str) else value
        kind = _CHAINS.get(fields.get("name")) if isinstance(fields, dict) else None
        if kind is None:
            raise ValueError("single, sequential or lifelong, or a mapping with one of the latter two as its name")
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise ValueError(_chain_words(kind, error)) from error

    @property
    def choices(self) -> tuple[MethodChoice, ...]:
        """The methods in order, each under its name here."""
        return tuple(self.choice(name) for name in self.methods)

    def choice(self, name: str) -> MethodChoice:
        """What goes by a name in ``methods``."""
        settings = dict(self.methods[name])
        method = settings.pop(_METHOD_KEY, name)
        return MethodChoice(name, method, settings)

    @property
    def digest(self) -> str:
        """Short hash of everything the recipe says, but where on this machine the images lie."""
        return content_id("c", self.model_dump(mode="json", exclude={"benchmark": {"image_root"}}))

    @property
    def placed(self) -> Recipe:
        """The same recipe with an image root that holds in every working directory."""
        if self.benchmark.image_root is None:
            return self
        root = str(Path(self.benchmark.image_root).absolute())
        return self.model_copy(update={"benchmark": self.benchmark.model_copy(update={"image_root": root})})


def recipe_names() -> tuple[str, ...]:
    """Names of the built-in run recipes, sorted. Training recipes lie beside them and name no benchmark."""
    folder = resources.files("reground") / "recipes"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            file.name.removesuffix(".yaml")
            for file in folder.iterdir()
            if file.name.endswith(".yaml") and _IS_RUN.search(file.read_text(encoding="utf-8"))
        )
    )


def load_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe with its overrides applied.

    Args:
        name_or_path: Name of a built-in recipe, or path of a YAML file.
        overrides: ``key=value`` each, in order; dots go into nested settings, e.g.
            ``methods.ft.num_steps=10``. The value is read as YAML.

    Raises:
        UnknownNameError: No such recipe.
        RecipeError: The file cannot be read, a key is unknown, a value does not fit, or it is a grid.
    """
    value = read_recipe(name_or_path, overrides)
    axes = [axis for axis in GRID_AXES if axis in value]
    if axes:
        raise RecipeError(
            f"recipe {name_or_path!r} is a grid: it has {', '.join(axes)}.",
            "a recipe of one run",
            f"choose one, e.g. --set {GRID_AXES[axes[0]]}=..., or run all with `reground run start {name_or_path}`.",
        )
    return recipe_of(value, name_or_path)


def read_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """What a recipe says, its overrides applied and nothing else of it checked; see ``load_recipe``.

    Raises:
        UnknownNameError: No such recipe.
        RecipeError: The file or an override cannot be read.
    """
    source, text = _read_source(name_or_path)
    value = _parse_yaml(text, source, "recipe")
    if not isinstance(value, dict):
        raise RecipeError(
            f"recipe {source!r} holds {kind_of(value)}.",
            "a mapping with the keys " + ", ".join(Recipe.model_fields),
            "write one key a line.",
        )
    for override in overrides:
        _apply_override(value, override)
    return value


def recipe_of(value: Mapping[str, Any], source: str) -> Recipe:
    """The recipe that what was read stands for.

    Raises:
        RecipeError: A key is unknown, or a value does not fit.
    """
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise _from_validation(error, f"recipe {source!r}") from error


def read_settings(overrides: Iterable[str]) -> dict[str, Any]:
    """Settings given as ``key=value`` each, the value read as YAML.

    Raises:
        RecipeError: One is not of this form.
    """
    value: dict[str, Any] = {}
    for override in overrides:
        _apply_override(value, override)
    return value


def _read_source(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    try:
        if name_or_path in recipe_names():
            path = Path(str(resources.files("reground") / "recipes" / f"{name_or_path}.yaml"))
        elif path.suffix not in (".yaml", ".yml") and not path.is_file():
            raise UnknownNameError("recipe", name_or_path, [*recipe_names(), "path/to/recipe.yaml"])
        return name_or_path, path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"cannot read the recipe {name_or_path!r}: byte {error.start + 1} is not UTF-8.",
            "a YAML file encoded as UTF-8",
            "convert the file, e.g. `iconv -f latin1 -t utf-8`.",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"cannot read the recipe {name_or_path!r}: {reason}.",
            "a YAML file, or one of " + ", ".join(recipe_names()),
            "check the path.",
        ) from error


def _apply_override(value: dict[str, Any], override: str) -> None:
    """Write one ``key=value`` into a recipe that is still plain YAML."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(
            f"cannot read the override {override!r}.",
            "key=value, e.g. --set benchmark.limit=20",
            "write it so.",
        )
    benchmarks = value.get("benchmarks")
    if parts[0] == "benchmark" and len(parts) > 1 and isinstance(benchmarks, list):
        value["benchmarks"] = [_with_override(benchmark, override) for benchmark in benchmarks]
        return
    if len(parts) == 1:  # a grid's axis stands in the place of the one value, and the other way round
        value.pop(_SINGLE_OF_AXIS.get(parts[0], ""), None)
    place: Any = value
    for part in parts[:-1]:
        if isinstance(place.get(part), str) and part == "benchmark":
            place[part] = {"name": place[part]}
        if isinstance(place.get(part), str) and part == "schedule":
            place[part] = {"name": place[part]}
        if part == "methods" and isinstance(place.get(part), list):
            place[part] = dict.fromkeys(place[part])
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            raise RecipeError(
                f"the override {override!r} goes into {part!r}, which holds {place!r}.",
                "a key that holds settings",
                "drop what follows it.",
            )
    place[parts[-1]] = _parse_yaml(text, override, "override")


def _with_override(benchmark: Any, override: str) -> Any:
    """One benchmark of a grid with an override for each of them."""
    changed = {"benchmark": dict(benchmark) if isinstance(benchmark, dict) else benchmark}
    _apply_override(changed, override)
    return changed["benchmark"]


def _chain_words(kind: type[Record], error: ValidationError) -> str:
    """What would have been accepted in a schedule of edits in chains."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"a schedule with the keys {', '.join(kind.model_fields)}"
    return f"in {field}, {accepted_words(kind, first)}"


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML in which a key may be given once; the stock loader silently keeps the last."""


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    pairs = loader.construct_pairs(node, deep=True)
    found: dict[Any, Any] = {}
    for (key, value), (key_node, _) in zip(pairs, node.value, strict=True):
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
        found[key] = value
    return found


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _parse_yaml(text: str, source: str, noun: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None and noun == "recipe" else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(
            f"{noun} {source!r}{where}: {problem}.", "YAML, each key once", "correct the line."
        ) from error


def _from_validation(error: ValidationError, what: str) -> RecipeError:
    first = error.errors(include_url=False)[0]
    *above, name = first["loc"] or ("",)
    field = ".".join(str(part) for part in first["loc"])
    known = fields_at(Recipe, above)
    if first["type"] == "extra_forbidden":
        hint = rename_hint(str(name), known)
        return RecipeError(f"{what} has the unknown key {field!r}.", ", ".join(known), hint)
    if first["type"] == "missing":
        return RecipeError(f"{what} lacks the key {field!r}.", ", ".join(known), f"add {field!r}.")
    given = f"was given {field}={shown(first['input'])}" if field else "contradicts itself"
    accepted = _METHODS if field == "methods" and first["type"] == "dict_type" else accepted_words(Recipe, first)
    return RecipeError(f"{what} {given}.", accepted, "correct the value.")
