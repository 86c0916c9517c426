"""MultiMedBench: the letter of the right option under teacher forcing, with a reference from before the edit."""

from __future__ import annotations

from reground.edits.records import Probe, Row
from reground.evaluation.labels import Measure, Unscored
from reground.evaluation.lenses.base import Asked, Lens, Measures, kept_ranks
from reground.evaluation.lenses.targets import option_letter
from reground.evaluation.matching import gold_option

__all__ = ["LENS", "METRICS", "in_scope_measure", "multimedbench_columns"]

METRICS = ("reliability", "generality", "locality_text", "locality_modality")

_COLUMNS = {
    "reliability": "reliability",
    "generality": "generality",
    "text_locality": "locality_text",
    "image_locality": "locality_modality",
}
_NO_OPTIONS = "the probe offers no options, so that no letter is right"
_NO_LETTER = "no score of the option's letter is recorded: run with --set protocol.keeps_forced_tokens=true"


def multimedbench_columns(probe: Probe) -> tuple[str, ...]:
    """The MultiMedBench metric a probe counts for; none for portability, which MultiMedBench does not have."""
    column = _COLUMNS.get(probe.kind)
    return (column,) if column is not None else ()


def in_scope_measure(probe: Probe, after: Row) -> Measure:
    """Share of the right letter's tokens (it has one, as a rule) that are the most likely ones."""
    expected = probe.expectation.answer
    index = gold_option(expected, probe.options) if expected is not None and probe.options else None
    if index is None or expected is None:
        return Unscored(_NO_OPTIONS)
    letter = option_letter(index)
    forced = after.forced
    if forced is not None and forced.text == letter:
        hits = sum(target == top[0] for target, top in zip(forced.target_ids, forced.top_ids, strict=True))
        return hits / len(forced.target_ids)
    if after.tf is not None and expected.text == letter:
        return after.tf
    return Unscored(_NO_LETTER)


def _measure(asked: Asked) -> Measures:
    if asked.probe.is_local:
        value = kept_ranks(asked.before, asked.after, 1)
    else:
        value = in_scope_measure(asked.probe, asked.after)
    return dict.fromkeys(multimedbench_columns(asked.probe), value)


LENS = Lens(
    name="multimedbench",
    summary="The right option's letter under teacher forcing; locality by the most likely token.",
    source="MultiMedEdit / MultiMedBench (AAAI 2026), arXiv 2508.07022",
    metrics=METRICS,
    columns=multimedbench_columns,
    measure=_measure,
    differs=(
        "Locality is held against the unedited model, token ids are compared as integers, and the model is restored "
        "after every single edit; the released code does none of the three.",
        "Generality takes every generality probe; MultiMedBench has text paraphrases only.",
        "Locality compares the places of the fed answer: the true one, and where the benchmark states none, what the "
        "unedited model answered.",
    ),
)
