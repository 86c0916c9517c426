"""Joules, where the device a model is on counts them itself; nothing is estimated from watts.

NVIDIA cards count what the whole card has used since its driver was loaded, by NVML (extra ``energy``). Processors
under Linux count what each package has used, by RAPL, if their counters may be read. Both count everything that goes on
there, other processes included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from reground.methods.edited import WrappedModel
from reground.models.base import Model

__all__ = ["EnergyMeter", "SpreadOverDevices", "devices_of"]

_POWERCAP = Path("/sys/class/powercap")
#: Packages of processors; a second colon marks a part of one, which is in the package's own counter.
_PACKAGES = "intel-rapl:*"


@runtime_checkable
class SpreadOverDevices(Protocol):
    """A model that knows every device it is on."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Each of them once, e.g. ``cuda:0``."""
        ...


def devices_of(model: Model) -> tuple[str, ...]:
    """The devices a model is on, whatever edits are wrapped around it."""
    while isinstance(model, WrappedModel):
        model = model.base
    return model.devices if isinstance(model, SpreadOverDevices) else (model.info.device,)


class EnergyMeter:
    """Energy used since it was made, on all of some devices together.

    Args:
        devices: Those a model is on, e.g. ``cpu`` or ``cuda:0``.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._counters = [_started(device) for device in devices]

    def joules(self) -> float | None:
        """Joules so far; None where any of the devices does not report them."""
        used = [None if counter is None else counter() for counter in self._counters]
        known = [joules for joules in used if joules is not None]
        return sum(known) if known and len(known) == len(used) else None


#: Joules since it was made; None if the device stopped to report them.
_Counter = Callable[[], float | None]


def _started(device: str) -> _Counter | None:
    if device == "cpu":
        return _processor()
    return _card(device) if device.startswith("cuda") else None


def _processor() -> _Counter | None:
    zones = list(_packages())
    before = [_microjoules(zone) for zone in zones]
    if not zones or None in before:
        return None

    def used() -> float | None:
        total = 0
        for zone, start in zip(zones, before, strict=True):
            now = _microjoules(zone)
            if now is None or start is None:
                return None
            if now < start:  # it went round once
                highest = _number(zone / "max_energy_range_uj")
                if highest is None:
                    return None
                now += highest
            total += now - start
        return total / 1e6

    return used


def _packages() -> Iterator[Path]:
    for zone in sorted(_POWERCAP.glob(_PACKAGES)):
        with suppress(OSError):
            # A zone of the whole platform would count its packages a second time.
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                yield zone


def _microjoules(zone: Path) -> int | None:
    return _number(zone / "energy_uj")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # most systems let only root read the counter
        return None


def _card(device: str) -> _Counter | None:
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(_uuid(device))
        before = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:  # no counter: older than Volta, or a slice of a card
        return None

    def used() -> float | None:
        try:
            millijoules: int = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before
        except nvml.NVMLError:
            return None
        return millijoules / 1e3

    return used


@lru_cache(maxsize=1)
def _nvml() -> Any:
    """The library, ready for use; None if it is not installed or finds no driver."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _uuid(device: str) -> str:
    """What NVML knows a card by: its own numbering is not that of a process that sees some cards only."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(torch.device(device)).uuid}"
