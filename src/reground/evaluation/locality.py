"""What an edit did to a probe that should not have noticed it."""

from __future__ import annotations

from reground.edits.records import Edit, Probe
from reground.evaluation.labels import NO_REFERENCE, NO_ROW, Measure, Unscored, Written
from reground.evaluation.matching import in_words, matches, names, same_answer

__all__ = ["independence", "kept_correct", "leaks"]

_REFERENCE_SILENT = "the unedited model did not answer"
_REFERENCE_WRONG = "the unedited model was not right"
_NO_TRUTH = "the true answer of the probe is not known"


def leaks(edit: Edit, chain_before: str, chain_after: str) -> bool:
    """Whether the new answer turns up in a chain where the unedited model did not name it."""
    new = in_words(edit.new_answer, edit.options)
    return names(chain_after, new) and not names(chain_before, new)


def independence(edit: Edit, probe: Probe, before: Written | None, after: Written) -> Measure:
    """1 if the edited model gives the unedited model's answer and its chain does not leak the edit, else 0.

    Answers are compared as normalised text. The probe is unscored if the unedited model did not answer it:
    there is nothing to keep.
    """
    if after.trace is None:
        return Unscored(NO_ROW)
    if before is None or before.trace is None:
        return Unscored(NO_REFERENCE)
    said_before, said_after = before.trace.answer, after.trace.answer
    if said_before is None:
        return Unscored(_REFERENCE_SILENT)
    if said_after is None or not same_answer(said_before, said_after, probe.options):
        return 0.0
    return float(not leaks(edit, before.trace.chain or "", after.trace.chain or ""))


def kept_correct(probe: Probe, before: Written | None, after: Written) -> Measure:
    """1 if the edited model is right where the unedited one was, 0 if it no longer is; else unscored."""
    if after.trace is None:
        return Unscored(NO_ROW)
    truth = probe.expectation.answer
    if truth is None:
        return Unscored(_NO_TRUTH)
    if before is None or before.trace is None:
        return Unscored(NO_REFERENCE)
    if before.trace.answer is None or not matches(before.trace.answer, truth, probe.options):
        return Unscored(_REFERENCE_WRONG)
    return float(after.trace.answer is not None and matches(after.trace.answer, truth, probe.options))
