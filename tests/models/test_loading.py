"""The name of a checkpoint, and what it says of how the weights are loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reground.errors import CapabilityError, InputError
from reground.models.loading import CheckpointSpec, LoadingOptions, parse_checkpoint, with_engine
from reground.models.registry import load_model, model_entry
from reground.runner.plan import check_capabilities
from reground.runner.recipe import Recipe


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:org/name", CheckpointSpec(source="org/name")),
        ("hf:org/name@v1.0", CheckpointSpec(source="org/name", revision="v1.0")),
        (
            "hf:org/name@abc?dtype=bfloat16&max_pixels=1003520&offline=true",
            CheckpointSpec(
                source="org/name",
                revision="abc",
                options=LoadingOptions(dtype="bfloat16", max_pixels=1003520, offline=True),
            ),
        ),
        (
            "hf:./absent?quantization=4bit&device_map=auto",
            CheckpointSpec(source="./absent", options=LoadingOptions(quantization="4bit", device_map="auto")),
        ),
    ],
)
def test_a_name_is_taken_apart(spec: str, expected: CheckpointSpec) -> None:
    assert parse_checkpoint(spec) == expected


def test_a_folder_that_exists_is_taken_as_it_is_written(tmp_path: Path) -> None:
    odd = tmp_path / "a@b?dtype=float8"
    odd.mkdir()
    assert parse_checkpoint(f"hf:{odd}") == CheckpointSpec(source=str(odd))
    assert parse_checkpoint(f"hf:{odd}?attention=eager").options.attention == "eager"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:org/name?dtpye=float32", "unknown option 'dtpye'"),
        ("hf:org/name?dtype=float8", "dtype='float8'"),
        ("hf:org/name?max_pixels=0", "max_pixels='0'"),
        ("hf:org/name?max_pixels=many", "max_pixels='many'"),
        ("hf:org/name?dtype=float32&dtype=float16", "an option twice"),
        ("hf:org/name?device=cpu&device_map=auto", "both device and device_map"),
        ("hf:org/name@", "the revision ''"),
        ("hf:name@v1", "the revision 'v1'"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_entry(spec)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("hf:org/name", "hf:org/name?engine=vllm"),
        ("hf:org/name@v1?max_pixels=9", "hf:org/name@v1?max_pixels=9&engine=vllm"),
    ],
)
def test_an_engine_becomes_a_part_of_the_name(spec: str, named: str) -> None:
    assert with_engine(spec, "vllm") == named


def test_an_engine_is_for_checkpoints_that_do_not_name_one(tmp_path: Path) -> None:
    odd = tmp_path / "a?b"
    odd.mkdir()
    assert parse_checkpoint(with_engine(f"hf:{odd}", "vllm")).options.engine == "vllm"
    for spec, engine, message in (
        ("phantom-med", "vllm", "to be answered by the engine"),
        ("hf:org/name?engine=vllm", "vllm", "an option twice"),
        ("hf:org/name", "vlm", "engine='vlm'"),
    ):
        with pytest.raises(InputError, match=message):
            with_engine(spec, engine)


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'dtype'"):
        model_entry("hf:org/name?dtpye=float32")


def test_the_name_and_the_recipe_do_not_both_say_where_to_run() -> None:
    with pytest.raises(InputError, match="device='cpu' besides what its name says"):
        load_model("hf:org/name?device_map=auto", device="cpu")
    with pytest.raises(InputError, match="dtype='float32' besides"):
        load_model("hf:org/name?dtype=bfloat16", dtype="float32")


def test_options_reach_the_loaded_model_and_its_name_says_them(tiny_folders: dict[str, Path]) -> None:
    spec = f"hf:{tiny_folders['qwen2_vl']}?dtype=bfloat16&device=cpu&attention=eager&offline=true"
    model = load_model(spec)
    assert model.info.name == spec
    assert (model.info.dtype, model.info.device) == ("bfloat16", "cpu")


@pytest.mark.parametrize(
    ("config", "query", "method", "missing"),
    [
        ({"model_type": "mllama"}, "", "liveedit", "image_tokens"),
        ({"model_type": "llava"}, "?quantization=8bit", "rome", "float_weights"),
        ({"model_type": "llava", "quantization_config": {"quant_method": "gptq"}}, "", "ft", "float_weights"),
    ],
)
def test_methods_that_cannot_work_are_refused_while_planning(
    config: dict[str, object], query: str, method: str, missing: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = f"hf:{tmp_path}{query}"
    recipe = Recipe(name="r", model=model, benchmark={"name": "phantom"}, methods={method: {}})  # type: ignore[arg-type]
    with pytest.raises(CapabilityError, match=f"'{method}' needs {missing}") as caught:
        check_capabilities(recipe)
    assert "grace" in str(caught.value)
