"""How often subjects came up in training, held against the training itself."""

import random
from collections import Counter
from importlib import resources

import pytest
import yaml

from reground.benchmarks.frequency import KNOWN_SHARES, finding_frequencies, frequency_bins
from reground.phantom.render import uri_keys
from reground.phantom.world import finding_text, phantom_world
from reground.training.phantom.samples import MIXTURES, FreshImages, Setting, draw


@pytest.mark.parametrize("model", KNOWN_SHARES)
def test_shares_are_those_of_the_training_recipe(model: str) -> None:
    text = (resources.files("reground") / "recipes" / "train" / f"{model}.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["language"].get("known_share", 1.0) == KNOWN_SHARES[model]


@pytest.mark.parametrize("model", KNOWN_SHARES)
def test_a_finding_is_drawn_as_often_as_stated(model: str) -> None:
    frequencies = finding_frequencies(model)
    assert frequencies is not None and sum(frequencies.values()) == pytest.approx(1)
    setting = Setting(FreshImages(), known_share=KNOWN_SHARES[model], styles=False)
    rng, drawn = random.Random(5), Counter[str]()
    for _ in range(6000):
        sample = draw(rng.choice(("percept", "change", "image_one_hop")), setting, rng)
        keys = uri_keys(sample.images[0])
        if "sign" in keys:
            drawn[finding_text(keys["organ"], keys["sign"])] += 1
    assert {finding for finding, share in frequencies.items() if share} == set(drawn)
    expected = drawn.total() / len(drawn)
    spread = sum((number - expected) ** 2 / expected for number in drawn.values())
    assert spread < len(drawn) + 5 * (2 * len(drawn)) ** 0.5, "chi-squared: not drawn evenly"


def test_no_note_in_training_starts_from_a_finding_kept_for_tests() -> None:
    setting = Setting(FreshImages(), styles=False)
    rng, splits = random.Random(6), phantom_world().splits
    for kind in (kind for kind in MIXTURES["med"] if kind.startswith("note_on")):
        for _ in range(100):
            sample = draw(kind, setting, rng)
            for keys in map(uri_keys, sample.images):
                if "sign" in keys:
                    assert splits[finding_text(keys["organ"], keys["sign"])] == "train"


def test_a_tail_is_cut_into_thirds_by_rank() -> None:
    frequencies = {"a": 0, "b": 1, "c": 2, "d": 2, "e": 2, "f": 40, "g": 50}
    assert frequency_bins(frequencies) == {
        "a": "never", "b": "rare", "c": "middle", "d": "middle", "e": "middle", "f": "frequent", "g": "frequent",
    }  # fmt: skip


def test_without_differences_there_is_no_tail() -> None:
    assert frequency_bins({"a": 3, "b": 3, "c": 0}) == {"a": "even", "b": "even", "c": "never"}
    assert frequency_bins({"a": 0.0}) == {"a": "never"}
    assert frequency_bins({}) == {}


def test_of_another_model_nothing_is_claimed() -> None:
    assert finding_frequencies("hf:somebody/else") is None
