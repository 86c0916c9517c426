"""The summaries of several runs as one: side by side where they differ in model or benchmark, averaged over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from reground.evaluation.forgetting import spread
from reground.evaluation.labels import Unscored
from reground.evaluation.results import Comparison, Example, Score, Summary

__all__ = ["join_summaries"]

_Setting = tuple[str, str]
_Item = TypeVar("_Item", Score, Comparison, Example)
_MEASURED = {"value", "low", "high", "n", "num_unscored", "reason", "unscored_reasons", "num_seeds", "seed_sd"}
_COMPARED = {"value", "low", "high", "num_edits"}
_QUOTED = {"count", "edit_id", "probe_id", "level", "question", "expected", "raw"}


def join_summaries(summaries: Sequence[Summary], *, run: str) -> Summary:
    """What several runs found, as the summary of one.

    Runs on the same model and benchmark are the same but for their seed. Each of their figures becomes the mean of
    those that were scored, with its standard deviation over the seeds and without an interval: intervals within a seed
    are in the summary of each run.

    Args:
        summaries: Of runs by the same recipe, models, benchmarks and seeds aside; at least one.
        run: Id of them all.

    Returns:
        Counts of edits, probes and failed steps are those of all runs together.
    """
    first = summaries[0]
    num_runs = Counter(setting for summary in summaries for setting in _settings(summary))
    repeated = {setting for setting, count in num_runs.items() if count > 1}
    notes = [note for summary in summaries for note in summary.notes]
    if repeated:
        notes.append(
            f"Figures are means over {max(num_runs.values())} seeds, with their standard deviation; "
            "the summary of each run has the intervals within its seed."
        )
    return Summary(
        protocol_version=first.protocol_version,
        package_version=first.package_version,
        reader=first.reader,
        run=run,
        methods=tuple(dict.fromkeys(method for summary in summaries for method in summary.methods)),
        num_failed_steps=sum(summary.num_failed_steps for summary in summaries),
        num_edits=sum(summary.num_edits for summary in summaries),
        num_probes=sum(summary.num_probes for summary in summaries),
        strata=_added(summaries),
        notes=tuple(dict.fromkeys(notes)),
        scores=_scores([score for summary in summaries for score in summary.scores], repeated),
        comparisons=_comparisons([item for summary in summaries for item in summary.comparisons], repeated),
        examples=_examples([item for summary in summaries for item in summary.examples]),
    )


def _settings(summary: Summary) -> set[_Setting]:
    return {(score.model, score.benchmark) for score in summary.scores}


def _added(summaries: Iterable[Summary]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for summary in summaries:
        for model, counts in summary.strata.items():
            found.setdefault(model, Counter()).update(counts)
    return {model: dict(counts) for model, counts in found.items()}


def _grouped(items: Iterable[_Item], apart_from: set[str]) -> list[list[_Item]]:
    """The items that agree in all other fields, in the order of the first of each group."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        key = tuple(getattr(item, field) for field in type(item).model_fields if field not in apart_from)
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def _scores(scores: Sequence[Score], repeated: set[_Setting]) -> tuple[Score, ...]:
    found: list[Score] = []
    for group in _grouped(scores, _MEASURED):
        (first, *_) = group
        if (first.model, first.benchmark) not in repeated:
            found += group
            continue
        reasons: Counter[str] = Counter()
        for score in group:
            reasons.update(score.unscored_reasons)
        known = [score.value for score in group if score.value is not None]
        found.append(
            first.model_copy(
                update={
                    **_averaged([score.value for score in group]),
                    "n": sum(score.n for score in group),
                    "num_unscored": sum(score.num_unscored for score in group),
                    "reason": None if known else first.reason,
                    "unscored_reasons": dict(reasons),
                    "num_seeds": len(known),
                    "seed_sd": None if isinstance(sd := spread(known), Unscored) else sd,
                }
            )
        )
    return tuple(found)


def _comparisons(items: Sequence[Comparison], repeated: set[_Setting]) -> tuple[Comparison, ...]:
    found: list[Comparison] = []
    for group in _grouped(items, _COMPARED):
        (first, *_) = group
        if (first.model, first.benchmark) not in repeated:
            found += group
            continue
        num_edits = sum(item.num_edits for item in group)
        found.append(first.model_copy(update={**_averaged([item.value for item in group]), "num_edits": num_edits}))
    return tuple(found)


def _examples(items: Sequence[Example]) -> tuple[Example, ...]:
    return tuple(
        group[0].model_copy(update={"count": sum(item.count for item in group)}) for group in _grouped(items, _QUOTED)
    )


def _averaged(values: Iterable[float | None]) -> Mapping[str, Any]:
    known = [value for value in values if value is not None]
    return {"value": sum(known) / len(known) if known else None, "low": None, "high": None}
