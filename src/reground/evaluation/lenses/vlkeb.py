"""VLKEB: the protocol of MMEdit, and portability by number of hops."""

from __future__ import annotations

from reground.edits.records import Probe
from reground.evaluation.lenses.base import Asked, Lens, Measures
from reground.evaluation.lenses.mmedit import LOCALITY_DIFFERS, mmedit_column, mmedit_measure

__all__ = ["LENS"]

_HOPS = ("hop1", "hop2", "hop3", "hop4")


def _columns(probe: Probe) -> tuple[str, ...]:
    if probe.kind == "portability":
        return (f"portability_{probe.level}",) if probe.level in _HOPS else ()
    column = mmedit_column(probe)
    return (column,) if column is not None else ()


def _measure(asked: Asked) -> Measures:
    return dict.fromkeys(_columns(asked.probe), mmedit_measure(asked))


LENS = Lens(
    name="vlkeb",
    summary="As mmedit, and teacher-forced portability at one to four hops.",
    source="Huang et al., 2024, VLKEB (NeurIPS Datasets and Benchmarks)",
    metrics=(
        "reliability",
        "generality_text",
        "generality_image",
        *(f"portability_{hop}" for hop in _HOPS),
        "locality_text",
        "locality_image",
    ),
    columns=_columns,
    measure=_measure,
    differs=LOCALITY_DIFFERS,
)
