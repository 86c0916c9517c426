"""Image features on disk: what comes back, when it is not used, and that the store keeps to its bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import reground
from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.models.base import Query, StoresImages
from reground.models.hf import adapter
from reground.models.hf.adapter import HfModel
from reground.models.hf.family import EncodedFrame
from reground.models.hf.image_cache import ImageCache
from reground.models.hf.image_store import _CODE, ImageStore, _digest_of, device_words

FRAMES = (
    EncodedFrame(
        torch.arange(6.0).reshape(3, 2), "<image>" * 3, (1, 3, 1), {"deep": torch.ones(3, dtype=torch.bfloat16)}
    ),
    EncodedFrame(torch.zeros(2, 2), "<image>" * 2),
)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_kept_is_found_by_a_store_of_the_same_model_alone(tmp_path: Path) -> None:
    ImageStore(["model", 1], tmp_path).keep("a", FRAMES)
    found = ImageStore(["model", 1], tmp_path).find("a")
    assert found is not None and len(found) == 2
    for one, kept in zip(found, FRAMES, strict=True):
        assert torch.equal(one.features_TH, kept.features_TH)
        assert (one.placeholder, one.grid) == (kept.placeholder, kept.grid)
        assert one.further.keys() == kept.further.keys()
    assert found[0].further["deep"].dtype is torch.bfloat16
    assert ImageStore(["model", 1], tmp_path).find("b") is None
    assert ImageStore(["model", 2], tmp_path).find("a") is None


def test_a_damaged_file_counts_as_absent_and_is_written_again(tmp_path: Path) -> None:
    store = ImageStore(["model"], tmp_path)
    store.keep("a", FRAMES)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    assert store.find("a") is None
    store.keep("a", FRAMES)
    assert store.find("a") is not None
    assert files(tmp_path) == [path], "nothing half-written lies beside it"


def test_a_folder_that_may_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files counted as damaged, as the time of their last use could not be set."""
    store = ImageStore(["model"], tmp_path)
    store.keep("a", FRAMES)

    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert store.find("a") is not None
    assert caplog.text == ""


def test_the_least_recently_used_go_when_the_room_is_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ImageStore(["model"], tmp_path / "one").keep("a", FRAMES)
    (path,) = files(tmp_path / "one")
    monkeypatch.setenv("REGROUND_IMAGE_CACHE_BYTES", str(3 * path.stat().st_size))
    store = ImageStore(["model"], tmp_path / "many")
    for age, key in enumerate("abc"):
        store.keep(key, FRAMES)
        os.utime(store._path(key), (age, age))
    assert store.find("a") is not None, "which also makes it the last used"
    store.keep("d", FRAMES)
    assert [key for key in "abcd" if store.find(key) is not None] == ["a", "d"]


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    """It was never counted and never removed."""
    folder = tmp_path / "model" / "ab"
    folder.mkdir(parents=True)
    left, being_written = folder / ".a.safetensors.x.partial", folder / ".b.safetensors.y.partial"
    for path in (left, being_written):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    store = ImageStore(["model"], tmp_path)
    store.keep("a", FRAMES)
    assert not left.exists() and being_written.exists()
    assert store.find("a") is not None


def test_others_may_read_what_was_kept_as_far_as_new_files_let_them(tmp_path: Path) -> None:
    """Several users may share the cache; files of the store were their writer's alone."""
    mask = os.umask(0o027)
    try:
        ImageStore(["model"], tmp_path).keep("a", FRAMES)
    finally:
        os.umask(mask)
    (path,) = files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_processes_together_keep_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counted what was there once, and from then on only what it added itself."""
    ImageStore(["model"], tmp_path / "one").keep("a", FRAMES)
    (path,) = files(tmp_path / "one")
    limit = 40 * path.stat().st_size
    monkeypatch.setenv("REGROUND_IMAGE_CACHE_BYTES", str(limit))
    stores = [ImageStore(["model"], tmp_path / "many") for _ in range(4)]
    for number in range(120):
        stores[number % 4].keep(str(number), FRAMES)
    assert sum(path.stat().st_size for path in files(tmp_path / "many")) <= 1.2 * limit


def test_an_image_larger_than_the_store_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROUND_IMAGE_CACHE_BYTES", "10")
    ImageStore(["model"], tmp_path).keep("a", FRAMES)
    assert files(tmp_path) == []
    monkeypatch.setenv("REGROUND_IMAGE_CACHE_BYTES", "some")
    with pytest.raises(InputError, match="REGROUND_IMAGE_CACHE_BYTES"):
        ImageStore(["model"], tmp_path)


def test_a_disk_that_cannot_be_written_costs_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ImageStore(["model"], tmp_path / "file")
    store.keep("a", FRAMES)
    assert "cannot be written" in caplog.text
    assert store.find("a") is None


def test_a_tower_sees_an_image_once_whatever_the_number_of_processes(
    one_tiny_model: HfModel, tiny_images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    query = Query(question="what is it?", image=ImageRef(frames=(tiny_images[0],)))
    passes: list[None] = []
    for path in one_tiny_model.family.vision[:1]:
        one_tiny_model.module.get_submodule(path).register_forward_hook(lambda *_: passes.append(None))
    assert isinstance(one_tiny_model, StoresImages)
    plain = one_tiny_model.fingerprint([query])
    assert len(passes) == 1 and files(tmp_path) == [], "nothing is stored unless it is asked for"
    one_tiny_model.store_images()
    for expected in (2, 2):
        one_tiny_model.images = ImageCache(one_tiny_model.images.max_bytes)  # as in a process that begins
        assert one_tiny_model.fingerprint([query]) == plain
        assert len(passes) == expected
    one_tiny_model.invalidate_images()
    assert one_tiny_model.fingerprint([query]) == plain
    assert len(passes) == 3, "features of an edited tower are not looked for"
    assert len(files(tmp_path)) == 1, "nor kept"


@pytest.mark.parametrize(
    ("name", "value"), [("code_digest", lambda: "changed"), ("device_words", lambda device: "another card")]
)
def test_features_of_other_code_or_another_device_are_not_used(
    one_tiny_model: HfModel, name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change to how pictures are drawn or encoded went unseen, as rendered images are known by their addresses."""
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    one_tiny_model.store_images()
    one = one_tiny_model.stored_images
    one_tiny_model.store_images()
    again = one_tiny_model.stored_images
    monkeypatch.setattr(adapter, name, value)
    one_tiny_model.store_images()
    other = one_tiny_model.stored_images
    assert one is not None and again is not None and other is not None
    one.keep("a", FRAMES)
    assert again.find("a") is not None and other.find("a") is None


def test_the_digest_of_code_changes_with_every_file(tmp_path: Path) -> None:
    (tmp_path / "draw").mkdir()
    file, other = tmp_path / "draw" / "ring.py", tmp_path / "open.py"
    file.write_text("size = 1")
    other.write_text("")
    seen = [_digest_of(tmp_path, [tmp_path / "draw", other])]
    for changed, text in ((file, "size = 2"), (other, "x"), (tmp_path / "draw" / "new.py", "")):
        changed.write_text(text)
        seen.append(_digest_of(tmp_path, [tmp_path / "draw", other]))
    file.rename(tmp_path / "draw" / "square.py")
    seen.append(_digest_of(tmp_path, [tmp_path / "draw", other]))
    assert len(set(seen)) == len(seen)


def test_the_code_and_the_device_can_be_told() -> None:
    package = Path(reground.__file__).parent
    assert all((package / name).exists() for name in _CODE)
    assert device_words("cpu") == torch.backends.cpu.get_cpu_capability()
    assert device_words("mps") == "mps"


def test_a_model_of_unknown_revision_stores_nothing(one_tiny_model: HfModel) -> None:
    one_tiny_model._info = one_tiny_model.info.model_copy(update={"revision": "unknown"})
    one_tiny_model.store_images()
    assert one_tiny_model.stored_images is None
