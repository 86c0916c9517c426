"""Weights as they were: bit for bit, out of memory where they are large, in memory where there is no room elsewhere."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.cache import cache_entries, cache_folder
from reground.edits.records import Edit
from reground.methods import originals as module
from reground.methods.originals import Originals, copy_bytes
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


@pytest.fixture(autouse=True)
def large_from_one_kibibyte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_FEWEST_BYTES", 1 << 10)
    monkeypatch.setattr(module, "_PIECE_BYTES", 1 << 9)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Two large ones, of other formats, with what is hardest to keep; and a small one."""
    torch.manual_seed(0)
    single = torch.randn(30, 17)
    single[0, :4] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-44])
    return {"single": single, "half": torch.randn(1000).to(torch.bfloat16), "bias": torch.randn(3)}


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(
        one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)
    )


def test_they_stay_as_they_were(tensors: dict[str, torch.Tensor]) -> None:
    found = Originals(tensors)
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    for tensor in tensors.values():
        tensor.zero_()
    assert set(found) == set(expected) and len(found) == 3
    for _ in range(2):
        assert all(same_bits(found[name], expected[name]) for name in expected)
    with pytest.raises(KeyError):
        found["weight"]


def test_what_is_large_is_not_in_memory_and_has_no_name(tensors: dict[str, torch.Tensor]) -> None:
    found = Originals(tensors)
    assert list(found._held) == ["bias"]
    assert not any(cache_folder().iterdir()) and not cache_entries()
    assert [copy_bytes(size) for size in (1023, 1024)] == [1023, 0]


@pytest.mark.parametrize("when", ["made", "written"])
def test_without_room_they_are_kept_in_memory(
    when: str, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """Takes one piece, then nothing."""

        num_bytes = 0

        def seek(self, *_: int) -> int:
            return self.num_bytes

        def write(self, piece: memoryview) -> int:
            if self.num_bytes:
                raise OSError(28, "No space left on device")
            self.num_bytes += len(piece)
            return len(piece)

        def close(self) -> None:
            pass

        def truncate(self, size: int) -> None:
            self.num_bytes = size

    full = Full()

    def made(**_: Any) -> Full:
        if when == "made":
            raise OSError(30, "Read-only file system")
        return full

    monkeypatch.setattr(tempfile, "TemporaryFile", made)
    found = Originals(tensors)
    assert all(same_bits(found[name], tensor) for name, tensor in tensors.items())
    assert not found._places
    assert full.num_bytes == 0


@pytest.mark.parametrize("method", ["ft", "ft-vision", "rome", "memit"])
def test_an_edit_is_undone_from_the_file(method: str, tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    settings = {"num_steps": 2, **({"corpus": "phantom-med", "num_texts": 4} if method in ("rome", "memit") else {})}
    before = {name: parameter.detach().clone() for name, parameter in tiny_model.module.named_parameters()}
    edits = [edit for edit in tiny_edits if edit.image is not None][:1]
    with create_editor(method, settings).apply(tiny_model, edits) as edited:
        originals = edited._base_tensors  # type: ignore[attr-defined]
        assert isinstance(originals, Originals) and originals._places
        assert any(not torch.equal(before[name], value) for name, value in tiny_model.module.named_parameters())
    assert all(same_bits(before[name], value.detach()) for name, value in tiny_model.module.named_parameters())


def test_without_a_home_they_are_kept_in_memory(
    tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(module, "cache_folder", homeless)
    assert Originals(tensors).num_bytes_in_memory == sum(map(num_bytes_of, tensors.values()))


def num_bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def test_whether_a_name_is_there_reads_nothing(
    tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Originals(tensors)
    monkeypatch.setattr(found, "_read", lambda _: pytest.fail("was read"))
    assert "half" in found and "other" not in found
    assert found.num_bytes_in_memory == num_bytes_of(tensors["bias"])
