"""What tests of several packages share.

Thread settings come first: they count only if they are set before torch is imported.
"""

from __future__ import annotations

import copy
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from covered_families import TINY_FAMILY_NAMES
from reground.edits.records import Answer, Edit, ImageRef

if TYPE_CHECKING:
    from reground.models.hf.adapter import HfModel


class BuiltWhenAsked(dict[str, Any]):
    """A mapping whose values are made when they are first asked for."""

    def __init__(self, build: Callable[[str], Any]) -> None:
        super().__init__()
        self._build = build

    def __missing__(self, key: str) -> Any:
        self[key] = self._build(key)
        return self[key]


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Key statistics go to a folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGROUND_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint with random weights for each model family, saved once."""
    from reground.models.hf.tiny import TINY_FAMILIES, build_tiny_checkpoint

    assert set(TINY_FAMILY_NAMES) <= set(TINY_FAMILIES)
    folder = tmp_path_factory.mktemp("tiny")
    return BuiltWhenAsked(lambda family: build_tiny_checkpoint(folder / family, family))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def loaded_tiny_models(tiny_folders: dict[str, Path]) -> dict[str, HfModel]:
    """Each family's tiny model, loaded once; to be copied, not used."""
    from reground.models.hf.adapter import load_hf_model

    return BuiltWhenAsked(lambda family: load_hf_model(str(tiny_folders[family]), name=f"tiny-{family}", device="cpu"))


def fresh_copy(loaded: HfModel) -> HfModel:
    """A model of its own with the same weights."""
    from reground.models.hf.adapter import HfModel

    return HfModel(copy.deepcopy(loaded.module), loaded.processor, loaded.family, loaded.info, loaded.delimiters)


@pytest.fixture
def family_copy(loaded_tiny_models: dict[str, HfModel]) -> Callable[[str], HfModel]:
    """From the name of a family to a fresh tiny model of it."""
    return lambda family: fresh_copy(loaded_tiny_models[family])


@pytest.fixture(params=TINY_FAMILY_NAMES)
def tiny_model(request: pytest.FixtureRequest, loaded_tiny_models: dict[str, HfModel]) -> HfModel:
    """A fresh tiny model of each family that every contract is run over."""
    return fresh_copy(loaded_tiny_models[request.param])


@pytest.fixture
def one_tiny_model(loaded_tiny_models: dict[str, HfModel]) -> HfModel:
    """A fresh tiny model of one family, for what does not depend on the family."""
    return fresh_copy(loaded_tiny_models["idefics3"])


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of four small pictures that differ."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    paths = []
    for index in range(4):
        path = folder / f"{index}.png"
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture(scope="session")
def tiny_edits(tiny_images: list[str]) -> list[Edit]:
    """A visual and a textual edit."""
    settings: dict[str, Any] = {"relation": "condition", "prior_answer": Answer(text="velmora syndrome")}
    return [
        Edit(
            subject="ring in the kidney",
            modality="visual",
            question="which condition does this image show?",
            image=ImageRef(frames=(tiny_images[0],)),
            new_answer=Answer(text="drantic fever"),
            statement="a ring in the kidney means drantic fever",
            **settings,
        ),
        Edit(
            subject="star in the liver",
            modality="textual",
            question="what does a star in the liver mean?",
            new_answer=Answer(text="osquine disease"),
            statement="a star in the liver means osquine disease.",
            **settings,
        ),
    ]


@pytest.fixture(scope="session")
def fitted(
    loaded_tiny_models: dict[str, HfModel],
    tiny_edits: list[Edit],
    tiny_images: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], Path]:
    """The folder of what a method learned for a family's tiny model, trained for seconds when first asked for."""
    from reground.methods.registry import trained_methods
    from training_world import quick_fit, tiny_policy

    folders: dict[tuple[str, str], Path] = {}

    def folder_of(method: str, family: str) -> Path:
        if (method, family) not in folders:
            folder = tmp_path_factory.mktemp("artifacts") / f"{method}-{family}"
            model = copy.deepcopy(loaded_tiny_models[family])
            if method in trained_methods():
                quick_fit(method, model, tiny_edits, tiny_images, folder)
            else:
                tiny_policy(model, folder)
            folders[method, family] = folder
        return folders[method, family]

    return folder_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow unless it was asked for: ``-m slow``."""
    if "slow" in str(config.getoption("-m")):
        return
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.skip(reason="takes long; run with -m slow"))
