"""Recipes and overrides: what is accepted, and how mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reground.errors import RecipeError, UnknownNameError
from reground.runner.recipe import Recipe, load_recipe, recipe_names

TEXT = """\
name: small
model: scripted:demo
benchmark: phantom
methods: [none, prompt]
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "small.yaml").write_text(TEXT)
    return str(tmp_path / "small.yaml")


def test_short_forms_are_filled_in(path: str) -> None:
    recipe = load_recipe(path)
    assert recipe.benchmark.name == "phantom"
    assert recipe.methods == {"none": {}, "prompt": {}}
    assert (recipe.schedule, recipe.protocol.belief_samples) == ("single", 8)


DEFAULT_CHOICE = {"split": "test", "seed": 0, "zero_shot_filter": False}


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("benchmark.limit=20", "benchmark", {"name": "phantom", "limit": 20} | DEFAULT_CHOICE),
        ("benchmark=other", "benchmark", {"name": "other", "limit": None} | DEFAULT_CHOICE),
        ("methods.prompt.template=x", "methods", {"none": {}, "prompt": {"template": "x"}}),
        ("methods={none: null}", "methods", {"none": {}}),
        ("seed=7", "seed", 7),
        ("device=", "device", None),
        ("model=hf:a=b", "model", "hf:a=b"),
    ],
)
def test_overrides_are_read_as_yaml(path: str, override: str, field: str, value: Any) -> None:
    read = load_recipe(path, [override]).model_dump(mode="json", exclude={"benchmark": {"image_root"}})
    assert read[field] == value


def test_the_last_override_wins_and_moves_the_digest(path: str) -> None:
    assert load_recipe(path, ["seed=1", "seed=2"]).seed == 2
    assert load_recipe(path, ["seed=1"]).digest != load_recipe(path).digest
    assert load_recipe(path, ["seed=0"]).digest == load_recipe(path).digest


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("benchmark.limt=20", "unknown key 'benchmark.limt'"),
        ("colour=red", "unknown key 'colour'"),
        ("protocol.temperature=hot", "protocol.temperature='hot'"),
        ("benchmark.limit=0", "benchmark.limit=0"),
        ("schedule=weekly", "schedule='weekly'"),
        ("methods={}", "methods={}"),
        ("methods=[none, none]", "each method is listed once"),
        ("seed=true", "seed=True"),
        ("protocol.belief_temperature=.inf", "a finite number"),
        ("benchmark.limt=20", "did you mean 'limit'?"),
        ("modl=x", "did you mean 'model'?"),
        ("benchmark=5", "a name as text, or an object with the fields name, split, limit, seed"),
        ("methods=none", "methods='none'"),
        ("methods.b={method: 3}", "in b, the name of a method as its method"),
        ("methods={a/b: {method: none}}", "names of letters, digits, _, + and -"),
        ("methods={reference: {method: none}}", "other than 'reference'"),
        ("methods=[1]", "a list of method names, or a mapping of each to its settings"),
        ("seed", "cannot read the override"),
        (".seed=1", "cannot read the override"),
        ("seed.x=1", "goes into 'seed'"),
        ("seed=[1", "override 'seed=[1'"),
        ("name=../x", "name='../x'"),
    ],
)
def test_mistakes_are_named(path: str, override: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, ["seed=0", override])
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT + "seed: 1\nseed: 2\n", f"line {TEXT.count(chr(10)) + 2}: the key 'seed' is given twice"),
        (TEXT.replace("model: scripted:demo\n", ""), "lacks the key 'model'"),
        ("", "holds nothing"),
        (TEXT + "5: 5\n", "text as the name of a key"),
        ("- a", "holds a list"),
        ("name: [", "line 1"),
        ("name: \x00", "recipe"),
        ("a: !!python/object/apply:os.system [ls]", "recipe"),
    ],
)
def test_damaged_recipes_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "r.yaml"))
    assert says in str(caught.value)


def test_missing_and_unreadable_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(RecipeError, match="byte 7 is not UTF-8"):
        load_recipe(str(tmp_path / "latin.yaml"))
    with pytest.raises(UnknownNameError, match="quickstrat"):
        load_recipe("quickstrat")
    for impossible in ("a\0b.yaml", "a" * 5000):
        with pytest.raises(RecipeError, match="cannot read the recipe"):
            load_recipe(impossible)


def test_every_built_in_recipe_loads_under_its_name() -> None:
    assert "quickstart" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_where_images_lie_is_no_part_of_what_a_recipe_computes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_recipe(path)
    rooted = load_recipe(path, ["benchmark.image_root=images"])
    assert rooted.digest == here.digest
    monkeypatch.chdir(Path(path).parent)
    assert rooted.placed.benchmark.image_root == str(Path(path).parent / "images")
    assert here.placed is here


def test_a_method_can_be_there_in_several_settings(path: str) -> None:
    chosen = load_recipe(path, ["methods={prompt: {template: x}, prompt-b: {method: prompt, template: y}, none: null}"])
    assert [(choice.name, choice.method, choice.settings) for choice in chosen.choices] == [
        ("prompt", "prompt", {"template": "x"}),
        ("prompt-b", "prompt", {"template": "y"}),
        ("none", "none", {}),
    ]
    assert [choice.is_variant for choice in chosen.choices] == [False, True, False]


def test_a_variant_takes_overrides(path: str) -> None:
    chosen = load_recipe(path, ["methods.prompt-b.method=prompt", "methods.prompt-b.template=y"])
    assert chosen.choice("prompt-b").settings == {"template": "y"}


@pytest.mark.parametrize("name", ["quickstart", "methods", "multimed"])
def test_published_recipes_keep_their_digests(name: str) -> None:
    manifest = json.loads((Path(__file__).parents[2] / "docs" / "results" / name / "manifest.json").read_text())
    assert Recipe.model_validate(manifest["recipe"]).digest == manifest["recipe_digest"]
