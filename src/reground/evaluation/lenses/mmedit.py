"""MMEdit, as EasyEdit computes it: teacher-forced tokens, and how many of the most likely ones survive elsewhere."""

from __future__ import annotations

from reground.edits.records import Probe
from reground.evaluation.labels import Measure
from reground.evaluation.lenses.base import Asked, Lens, Measures, in_scope_share, kept_ranks

__all__ = ["LENS", "LOCALITY_DIFFERS", "mmedit_column", "mmedit_measure"]

#: How many of the most likely tokens are compared at each place, by kind of locality probe.
_LOCALITY_RANKS = {"text_locality": 1, "image_locality": 10}

LOCALITY_DIFFERS = (
    "Locality compares the places of the fed answer; the released code compares every place of the sequence, those of "
    "the prompt and the image among them.",
    "The text fed to a locality probe is its true answer, and where the benchmark states none, what the unedited model "
    "answered; the released code feeds the benchmark's answer.",
    "The reference comes from before the edit.",
)

_LEVELS = {"text_rephrase": "generality_text", "image_rephrase": "generality_image"}
_LOCALITY = {"text_locality": "locality_text", "image_locality": "locality_image"}


def mmedit_column(probe: Probe) -> str | None:
    """The MMEdit metric a probe counts for; None if its kind is none of MMEdit's."""
    if probe.kind == "reliability":
        return "reliability"
    return _LEVELS.get(probe.level) if probe.kind == "generality" else _LOCALITY.get(probe.kind)


def _columns(probe: Probe) -> tuple[str, ...]:
    column = mmedit_column(probe)
    return (column,) if column is not None else ()


def mmedit_measure(asked: Asked) -> Measure:
    """What one probe scores: the share of target tokens, or of ranks kept."""
    ranks = _LOCALITY_RANKS.get(asked.probe.kind)
    return in_scope_share(asked.after) if ranks is None else kept_ranks(asked.before, asked.after, ranks)


def _measure(asked: Asked) -> Measures:
    return dict.fromkeys(_columns(asked.probe), mmedit_measure(asked))


LENS = Lens(
    name="mmedit",
    summary="Teacher-forced tokens; text locality by the most likely token, image locality by the ten most likely.",
    source="Cheng et al., 2023, MMEdit (EMNLP), as EasyEdit computes it",
    metrics=("reliability", "generality_text", "generality_image", "locality_text", "locality_image"),
    columns=_columns,
    measure=_measure,
    differs=LOCALITY_DIFFERS,
)
