"""Encoders: unit vectors, by spec, without torch until it is needed; checkpoints are built tiny from a config."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from library_world import MeanColour
from reground.edits.records import ImageRef
from reground.errors import InputError, UnknownNameError
from reground.library.encoders import (
    IMAGE_ENCODERS,
    TEXT_ENCODERS,
    JoinedTexts,
    NgramEncoder,
    RememberingImages,
    RememberingTexts,
    default_text_encoder,
    open_encoders,
    open_image_encoder,
    open_text_encoder,
)
from reground.library.phantom_tower import mean_direction

needs_sentences = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="needs sentence-transformers: pip install 'reground[embed]'"
)
FINDING = "phantom:finding?organ=kidney&sign=ring&place={place}&size=small&modality={modality}&seed={seed}"


def lengths(vectors_ND: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors_ND, axis=1)


def test_the_library_is_imported_and_used_without_torch() -> None:
    code = (
        "import sys\n"
        "from reground.library import calibration, card, encoders, exchange, index, lance, routing, store\n"
        "from reground.library.encoders import Encoders, NgramEncoder\n"
        "library = store.Library.open('memory:', encoders=Encoders(NgramEncoder()))\n"
        "assert library.add([]).version == 0\n"
        "assert not {'torch', 'transformers', 'lancedb', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_ngrams_go_by_the_name_and_not_by_how_one_asks() -> None:
    encoder = NgramEncoder()
    vectors = encoder.encode(
        ["What is the first drug for velmora?", "Which medicine treats velmora?", "What is the first drug for pellow?"]
    )
    assert vectors.shape == (3, encoder.num_dimensions) and vectors.dtype == np.float32
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert lengths(encoder.encode(["?!"])).tolist() == [0.0]


def test_joined_encoders_take_the_mean_of_their_products() -> None:
    part = NgramEncoder()
    joined = JoinedTexts([part, part])
    texts = ["a ring in the kidney", "a ring in the liver"]
    one, other = joined.encode(texts), part.encode(texts)
    assert joined.spec == "ngrams+ngrams" and one.shape[1] == joined.num_dimensions == 2 * part.num_dimensions
    np.testing.assert_allclose(one[0] @ one[1], other[0] @ other[1], atol=1e-6)


def test_images_are_encoded_once(tiny_images: list[str]) -> None:
    inner = MeanColour()
    encoder = RememberingImages(inner, num_remembered=2)
    refs = [ImageRef(frames=(path,)) for path in tiny_images]
    first = encoder.encode([refs[0], refs[1], refs[0]])
    assert inner.num_encoded == 2
    np.testing.assert_array_equal(encoder.encode([refs[1], refs[0]]), first[[1, 0]])
    assert inner.num_encoded == 2
    encoder.encode([refs[2]])
    encoder.encode([refs[1]])
    assert inner.num_encoded == 4, "the image used longest ago makes room"


def test_texts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = NgramEncoder()
    plain = inner.encode(["a ring", "a star"])
    read: list[str] = []
    once = inner.encode
    monkeypatch.setattr(inner, "encode", lambda texts: read.extend(texts) or once(texts))
    encoder = RememberingTexts(inner, num_remembered=2)
    np.testing.assert_array_equal(encoder.encode(["a ring", "a star", "a ring"]), plain[[0, 1, 0]])
    np.testing.assert_array_equal(encoder.encode(["a star"]), plain[[1]])
    assert read == ["a ring", "a star"]
    encoder.encode(["a block"])
    encoder.encode(["a ring"])
    assert read[2:] == ["a block", "a ring"], "what was read longest ago makes room"
    assert encoder.encode([]).shape == (0, inner.num_dimensions)


@pytest.mark.reference
def test_several_frames_are_one_direction_by_hand() -> None:
    vectors = np.array([[2.0, 0.0], [0.0, 5.0], [0.0, -1.0]], dtype=np.float32)
    half = 2**-0.5
    np.testing.assert_allclose(mean_direction(vectors, [2, 1]), [[half, half], [0, -1]], atol=1e-6)


@pytest.mark.parametrize("spec", ["minilmm", "clip:", "sentence", "ngrams:x", "ngrams+nothing"])
def test_an_unknown_text_encoder_is_refused_with_the_known_ones(spec: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        open_text_encoder(spec)
    assert "ngrams" in caught.value.accepted


def test_an_unknown_image_encoder_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        open_image_encoder("phantom-medd")
    assert default_text_encoder() in ("minilm+ngrams", "ngrams")
    assert open_encoders("ngrams", None) is open_encoders("ngrams", None)
    assert {"phantom-med"} <= set(TEXT_ENCODERS) & set(IMAGE_ENCODERS)


def test_the_tower_brings_images_of_one_subject_together() -> None:
    encoder = open_image_encoder("phantom-med")
    card, again, half_alike, other = (
        ImageRef(frames=(uri,))
        for uri in (
            FINDING.format(place="upper", modality="ct", seed=7),
            FINDING.format(place="lower", modality="mri", seed=8),
            FINDING.replace("ring", "star").format(place="upper", modality="ct", seed=9),
            "phantom:shapes?shape=circle&colour=red&count=1&seed=3",
        )
    )
    vectors = encoder.encode([card, again, half_alike, other])
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-5)
    products = vectors[0] @ vectors[1:].T
    assert products[0] > 0.75 > products[1] > products[2]
    both = ImageRef(frames=(*card.frames, *again.frames))
    np.testing.assert_allclose(lengths(encoder.encode([both])), 1, atol=1e-5)


def test_the_built_in_models_own_words_tell_names_apart() -> None:
    encoder = open_text_encoder("phantom-med")
    vectors = encoder.encode(["a ring in the kidney", "the kidney shows a ring", "a star in the liver", ""])
    np.testing.assert_allclose(lengths(vectors), [1, 1, 1, 0], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


@pytest.fixture(scope="module")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny CLIP and SigLIP checkpoints with random weights, complete with processors."""
    from reground.models.hf.tiny import build_tiny_dual_encoder

    return {
        family: build_tiny_dual_encoder(tmp_path_factory.mktemp("dual") / family, family)
        for family in ("clip", "siglip")
    }


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_both_sides_of_a_clip_class_checkpoint(
    clip_folders: dict[str, Path], family: str, tiny_images: list[str]
) -> None:
    spec = f"clip:{clip_folders[family]}"
    encoders = open_encoders(spec, spec)
    assert encoders.image is not None
    assert encoders.text.num_dimensions == encoders.image.num_dimensions
    images = encoders.image.encode([ImageRef(frames=(path,)) for path in tiny_images[:3]])
    texts = encoders.text.encode(["a ring in the kidney", "which drug comes first? " * 40])
    for vectors in (images, texts):
        assert vectors.shape[1] == encoders.text.num_dimensions
        np.testing.assert_allclose(lengths(vectors), 1, atol=1e-5)
    assert not np.allclose(images[0], images[1])
    np.testing.assert_allclose(encoders.text.encode(["a ring in the kidney"])[0], texts[0], atol=1e-5)
    assert encoders.text.encode([]).shape == (0, encoders.text.num_dimensions)


def test_what_is_no_clip_is_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    for folder, said in ((tmp_path, "cannot be opened"), (tiny_folders["idefics3"], "no image and text side")):
        with pytest.raises(InputError, match=said):
            open_text_encoder(f"clip:{folder}").encode(["a"])


@needs_sentences
@pytest.mark.filterwarnings("ignore")
def test_any_sentence_checkpoint(tmp_path: Path) -> None:
    from reground.models.hf.tiny import build_tiny_text_encoder

    folder = build_tiny_text_encoder(tmp_path / "bert")
    encoder = open_text_encoder(f"sentence:{folder}")
    vectors = encoder.encode(["a ring in the kidney", "which drug comes first?"])
    assert vectors.shape == (2, encoder.num_dimensions) and vectors.dtype == np.float32
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-5)
    with pytest.raises(InputError, match="cannot be opened"):
        open_text_encoder(f"sentence:{tmp_path / 'nothing'}").encode(["a"])
