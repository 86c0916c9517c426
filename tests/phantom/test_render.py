"""Images of the phantom clinic."""

import hashlib

import numpy as np
import pytest

from reground.errors import ImageError
from reground.phantom.render import device_uri, finding_uri, render_uri, shapes_uri
from reground.phantom.world import MODALITIES, ORGANS, SIGNS, phantom_world


def _pixels(uri: str) -> np.ndarray:
    return np.asarray(render_uri(uri), dtype=np.int16)


def test_the_same_address_gives_the_same_pixels_and_another_seed_gives_others() -> None:
    uri = finding_uri("kidney", "ring", "upper", "small", "ct", 7)
    assert np.array_equal(_pixels(uri), _pixels(uri))
    assert not np.array_equal(_pixels(uri), _pixels(finding_uri("kidney", "ring", "upper", "small", "ct", 8)))


def test_thousands_of_distinct_images_per_subject() -> None:
    seen = {
        hashlib.sha256(render_uri(finding_uri("kidney", "ring", "upper", "small", "ct", seed)).tobytes()).digest()
        for seed in range(300)
    }
    assert len(seen) == 300


def test_every_organ_sign_modality_and_device_can_be_drawn() -> None:
    for i, organ in enumerate(ORGANS):
        for sign in SIGNS:
            image = render_uri(finding_uri(organ, sign, "central", "medium", MODALITIES[i % 6], i))
            assert image.size == (64, 64) and image.mode == "RGB"
    for name in phantom_world().devices:
        assert render_uri(device_uri(name, "x-ray", 1)).size == (64, 64)


def test_look_alikes_differ_by_more_than_noise_and_less_than_families_do() -> None:
    """The mean over seeds removes pose and noise; what is left is the device."""
    names = list(phantom_world().devices)

    def mean(name: str) -> np.ndarray:
        return np.mean([_pixels(device_uri(name, "ct", seed)) for seed in range(24)], axis=0)

    a, a_again = (
        mean(names[6]),
        np.mean([_pixels(device_uri(names[6], "ct", s)) for s in range(24, 48)], axis=0),
    )
    alike, other = mean(names[7]), mean(names[14])
    noise, near, far = (np.abs(a - b).mean() for b in (a_again, alike, other))
    assert noise < near < far


@pytest.mark.parametrize(
    "uri",
    [
        "phantom:finding?organ=kidney",
        "phantom:finding?organ=elbow&sign=ring&place=upper&size=small&modality=ct&seed=1",
        "phantom:device?name=nobody&modality=ct&seed=1",
        "phantom:unknown",
        shapes_uri("circle", "red", 9, 1),
    ],
)
def test_an_address_of_nothing_says_what_would_be_accepted(uri: str) -> None:
    with pytest.raises(ImageError) as caught:
        render_uri(uri)
    assert "Accepted:" in str(caught.value) and "Next:" in str(caught.value)
