from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

import reground
from reground.evaluation.labels import LABELS
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.results import METRICS
from reground.evaluation.strata import STRATA

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_defaults_are_version_one() -> None:
    settings = ProtocolSettings()
    assert (settings.max_new_tokens, settings.temperature) == (96, 0.0)
    assert (settings.belief_samples, settings.belief_temperature) == (8, 1.0)
    assert (settings.bootstrap_resamples, settings.confidence) == (2000, 0.95)


def test_an_unknown_or_impossible_setting_is_refused() -> None:
    for fields in ({"max_token": 5}, {"temperature": -1}, {"confidence": 1.0}, {"belief_samples": 0}):
        with pytest.raises(ValidationError):
            ProtocolSettings.model_validate(fields)


def test_the_page_defines_every_metric_label_stratum_and_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"version {reground.PROTOCOL_VERSION}" in page.splitlines()[0]
    words = [*METRICS, *LABELS, *STRATA, *ProtocolSettings.model_fields]
    assert [word for word in words if f"`{word}`" not in page] == []


def test_the_page_states_the_defaults() -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    stated = {cells[1].strip(" `"): cells[2].strip() for cells in rows}
    for name, value in ProtocolSettings():
        assert stated[name] == str(value)
