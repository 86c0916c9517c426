"""An endpoint on loopback, and models behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fault_server import FaultServer, serving
from reground.models.endpoint.model import EndpointModel, load_endpoint_model


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving() as running:
        yield running


@pytest.fixture
def load(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EndpointModel]:
    """Loads the model behind the server, with a cache of the test's own; the question asked first is forgotten."""
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))

    def loaded(options: str = "", name: str = "m") -> EndpointModel:
        model = load_endpoint_model(f"endpoint:{server.url}#{name}" + (f"?{options}" if options else ""))
        server.requests.clear()
        return model

    return loaded
