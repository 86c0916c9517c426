"""Which text is fed to a model so that a lens can compare what it would have written in its place."""

from __future__ import annotations

from reground.edits.records import Probe, Trace
from reground.evaluation.matching import chosen_option, gold_option

__all__ = ["forced_target", "option_letter"]


def forced_target(probe: Probe, reference: Trace | None) -> str | None:
    """The text to feed for a probe, the same before and after the edit; None if no lens needs one.

    A multiple-choice probe: the letter of the option that is right. Another locality probe: its true answer, else
    what the unedited model answered. Other probes: none, since ``tf`` already is about their answer.

    Args:
        probe: The probe.
        reference: The unedited model's trace on it; None if there is none.
    """
    said = reference.answer if reference is not None else None
    truth = probe.expectation.answer
    if probe.options:
        index = gold_option(truth, probe.options) if truth is not None else chosen_option(said or "", probe.options)
        return None if index is None else option_letter(index)
    if not probe.is_local:
        return None
    return truth.text if truth is not None else (said or "").strip() or None


def option_letter(index: int) -> str:
    """How the option at ``index`` is lettered in a prompt."""
    return chr(ord("A") + index)
