"""Fitting the heads that tell images apart."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from reground.models.registry import load_model
from reground.phantom.world import phantom_world
from reground.training.phantom.image_key import KEY_NAMES, ImageKeySettings, fit_image_key, key_image


def test_images_show_subjects_of_their_split_and_are_labelled() -> None:
    world, rng = phantom_world(), random.Random(0)
    allowed = {f"family {world.devices[name][0]}" for name in world.subjects("device", "train")}
    for _ in range(200):
        uri, label = key_image(rng, "train")
        what, which = (KEY_NAMES[head][label[head]] for head in ("what", "which"))
        if "finding?" in uri:
            assert f"sign={what}" in uri and f"organ={which}" in uri
            assert world.splits[f"{what} in the {which}"] == "train"
        elif "device?" in uri:
            assert what in allowed and which.startswith("member")
        else:
            assert f"shape={what}" in uri and f"colour={which}" in uri


def test_a_fit_repeats_and_leaves_tower_and_chance_alone(tmp_path: Path) -> None:
    model = load_model("phantom-med", device="cpu")
    settings = ImageKeySettings(num_images=16, num_steps=3, batch_size=8, num_checked=4)
    before, state = model.fingerprint([]), torch.random.get_rng_state()
    shares = [fit_image_key(model, tmp_path / name, settings) for name in ("one", "other")]
    assert shares[0] == shares[1] and set(shares[0]) == {
        f"{split}.{head}" for split in ("train", "calibration") for head in KEY_NAMES
    }
    assert torch.equal(torch.random.get_rng_state(), state) and model.fingerprint([]) == before
    with safe_open(tmp_path / "one", "pt") as one, safe_open(tmp_path / "other", "pt") as other:
        assert set(one.keys()) == set(other.keys())
        assert all(torch.equal(one.get_tensor(name), other.get_tensor(name)) for name in one.keys())  # noqa: SIM118
        assert ImageKeySettings.model_validate_json(one.metadata()["settings"]) == settings


@pytest.mark.parametrize("head", sorted(KEY_NAMES))
def test_names_of_a_head_are_distinct(head: str) -> None:
    assert len(set(KEY_NAMES[head])) == len(KEY_NAMES[head])
