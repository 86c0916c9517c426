"""MultiMedBench in the order of its released code, to show what that order does to the number.

That code edits ``self.model`` in place, by weights or by a wrapped layer, and then asks the same object for its
reference. So for any method that does so, locality compares the edited model with itself. Predicted ids are compared
after a cast to half precision, in which ids above 2,048 are rounded and those above 65,519 are all infinite.
"""

from __future__ import annotations

import numpy as np

from reground.edits.records import Row
from reground.evaluation.labels import NO_REFERENCE, Measure, Unscored
from reground.evaluation.lenses.base import NO_TOKENS, Asked, Lens, Measures
from reground.evaluation.lenses.multimedbench import METRICS, in_scope_measure, multimedbench_columns

__all__ = ["LENS"]

_NO_COST = "it is not recorded whether the method changes the model in place"


def _measure(asked: Asked) -> Measures:
    if asked.probe.is_local:
        value = _kept_in_half_precision(_reference_after_the_edit(asked), asked.after)
    else:
        value = in_scope_measure(asked.probe, asked.after)
    return dict.fromkeys(multimedbench_columns(asked.probe), value)


def _reference_after_the_edit(asked: Asked) -> Row | Unscored:
    """What the released code takes for the unedited model: the edited one, unless the edit is all in the prompt."""
    if asked.after.num_changed_parameters is None:
        return Unscored(_NO_COST)
    if asked.after.num_changed_parameters > 0:
        return asked.after
    return asked.before if asked.before is not None else Unscored(NO_REFERENCE)


def _kept_in_half_precision(reference: Row | Unscored, after: Row) -> Measure:
    if isinstance(reference, Unscored):
        return reference
    if reference.forced is None or after.forced is None:
        return Unscored(NO_TOKENS)
    with np.errstate(over="ignore"):
        then, now = (
            np.array([top[0] for top in forced.top_ids]).astype(np.float16)
            for forced in (reference.forced, after.forced)
        )
    return float((then == now).mean())


LENS = Lens(
    name="multimedbench-as-released",
    summary="FLAWED, for comparison only: MultiMedBench with its reference taken after the edit.",
    source="The released code of MultiMedBench (github NUAA-MMMI/MedBench), which may differ from that of its tables",
    metrics=METRICS,
    columns=multimedbench_columns,
    measure=_measure,
    differs=(
        "The released code does not restore the model between single edits; rows of a run that does cannot show what "
        "that adds.",
        "A method counts as changing the model in place if its rows say it changed parameters.",
    ),
    flaw="the reference is taken after the edit, so locality compares an edited model with itself",
)
