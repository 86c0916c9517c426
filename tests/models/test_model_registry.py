"""Models by name, without importing any of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reground.errors import InputError, UnknownNameError
from reground.models.registry import MODELS, load_model, model_entry


def test_names_resolve_and_the_nearest_is_suggested() -> None:
    assert model_entry("phantom-med") is MODELS["phantom-med"]
    assert "weights" in model_entry("hf:org/name").capabilities
    with pytest.raises(UnknownNameError, match="did you mean 'phantom-med'"):
        model_entry("phantom-mad")


@pytest.mark.parametrize("spec", ["hf:", "hf: "])
def test_a_family_without_a_name_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match="names nothing"):
        model_entry(spec)


def test_declared_capabilities_are_those_of_the_loaded_model() -> None:
    model = load_model("scripted:demo")
    assert model.capabilities == model_entry("scripted:demo").capabilities
    assert model.info.name == "scripted:demo"


def test_settings_that_would_be_ignored_are_refused() -> None:
    with pytest.raises(InputError, match="bfloat16"):
        load_model("scripted:demo", dtype="bfloat16")
    with pytest.raises(InputError, match="device"):
        load_model("scripted:demo", device="cuda")


def test_listing_and_scripting_import_no_torch() -> None:
    code = (
        "import sys; from reground.models.registry import load_model, MODELS; load_model('scripted:demo');"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
