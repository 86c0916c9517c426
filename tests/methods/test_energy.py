"""Energy is what the devices report, and None where any of them reports none."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.methods import energy
from reground.methods.cost import measured
from reground.methods.energy import EnergyMeter, devices_of
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel
from reground.models.registry import load_model


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No counters but those a test makes."""
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path / "powercap")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    energy._nvml.cache_clear()
    yield
    energy._nvml.cache_clear()


def zone(folder: Path, name: str, microjoules: int, kind: str = "package-0", highest: int = 1_000_000_000) -> Path:
    made = folder / "powercap" / name
    made.mkdir(parents=True)
    (made / "name").write_text(f"{kind}\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text(f"{highest}\n")
    return made


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", 5_000_000, "package-1")
    part = zone(tmp_path, "intel-rapl:0:0", 0, "core")
    platform = zone(tmp_path, "intel-rapl:2", 0, "psys")
    meter = EnergyMeter(["cpu"])
    for one, microjoules in ((first, 3_500_000), (second, 6_000_000), (part, 9_000_000), (platform, 99_000_000)):
        (one / "energy_uj").write_text(str(microjoules))
    assert meter.joules() == pytest.approx(2.5 + 1.0)


def test_a_counter_that_went_round_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", 900_000_000)
    meter = EnergyMeter(["cpu"])
    (counter / "energy_uj").write_text("50000000")
    assert meter.joules() == pytest.approx(150.0)
    (counter / "max_energy_range_uj").unlink()
    assert meter.joules() is None


def test_a_counter_that_cannot_be_read_is_none_and_not_zero(tmp_path: Path) -> None:
    assert EnergyMeter(["cpu"]).joules() is None
    counter = zone(tmp_path, "intel-rapl:0", 1)
    meter = EnergyMeter(["cpu"])
    (counter / "energy_uj").unlink()
    (counter / "energy_uj").mkdir()  # refuses to be read, even to root
    assert meter.joules() is None
    assert EnergyMeter(["cpu"]).joules() is None


class NvmlError(Exception):
    pass


class FakeNvml(types.ModuleType):
    """Cards by their UUID, and what each has counted in millijoules; one without a counter has None."""

    NVMLError = NvmlError

    def __init__(self, cards: dict[str, int | None], *, has_driver: bool = True) -> None:
        super().__init__("pynvml")
        self.cards = cards
        self.has_driver = has_driver

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NvmlError("driver not loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.cards:
            raise NvmlError("not found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        counted = self.cards[handle]
        if counted is None:
            raise NvmlError("not supported")
        return counted


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Two cards with a counter and one without, seen by this process as cuda:0 to cuda:2."""
    fake = FakeNvml({"GPU-a": 10_000, "GPU-b": 500, "GPU-old": None})
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    names = ["b", "a", "old", "unseen"]  # in another order than the driver's

    def properties(device: torch.device) -> Any:
        return types.SimpleNamespace(uuid=names[device.index])

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    return fake


def test_cards_are_added_in_joules(nvml: FakeNvml) -> None:
    both, second = EnergyMeter(["cuda:0", "cuda:1"]), EnergyMeter(["cuda:1"])
    nvml.cards |= {"GPU-a": 12_500, "GPU-b": 1_500}
    assert both.joules() == pytest.approx(2.5 + 1.0)
    assert second.joules() == pytest.approx(2.5)


@pytest.mark.parametrize("devices", [["cuda:0", "cuda:2"], ["cuda:3"], ["cuda:0", "cpu"], ["endpoint"], ["vllm"], []])
def test_one_device_that_does_not_report_leaves_no_sum(nvml: FakeNvml, devices: list[str]) -> None:
    assert EnergyMeter(devices).joules() is None


def test_a_card_that_stops_to_report_leaves_no_sum(nvml: FakeNvml) -> None:
    meter = EnergyMeter(["cuda:0"])
    nvml.cards["GPU-b"] = None
    assert meter.joules() is None


def test_without_library_or_driver_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EnergyMeter(["cuda:0"]).joules() is None
    energy._nvml.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({}, has_driver=False))
    assert EnergyMeter(["cuda:0"]).joules() is None


def test_a_block_is_measured(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", 1_000_000)
    with measured("cpu") as meter:
        (counter / "energy_uj").write_text("4000000")
    assert meter.joules == pytest.approx(3.0)
    with measured("cpu", ["cpu", "cuda:0"]) as meter:
        pass
    assert meter.joules is None


def test_a_model_is_on_the_devices_of_its_weights(tiny_model: HfModel) -> None:
    assert devices_of(tiny_model) == ("cpu",)
    assert devices_of(load_model("scripted:demo")) == ("cpu",)


def test_an_edited_model_is_where_the_model_is_that_it_wraps(
    tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the device of the embeddings was counted, and not those of the other layers."""
    both = ("cuda:0", "cuda:1")
    monkeypatch.setattr(HfModel, "devices", property(lambda self: both))
    editor = create_editor("none", {})
    with editor.apply(tiny_model, tiny_edits[:1]) as once, editor.apply(once, tiny_edits[:1]) as twice:
        assert devices_of(once) == devices_of(twice) == both


@pytest.mark.parametrize("name", ["ft", "grace", "wise", "prompt"])
def test_editors_say_what_applying_used(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "intel-rapl:0", 0)
    counted = iter(range(0, 100_000_000, 1_000_000))
    monkeypatch.setattr(energy, "_microjoules", lambda zone: next(counted))
    settings = {} if name == "prompt" else {"num_steps": 1}
    with create_editor(name, settings).apply(tiny_model, tiny_edits[:1]) as edited:
        assert edited.cost.apply_j == pytest.approx(1.0)
