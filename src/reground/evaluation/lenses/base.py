"""What a lens is, and how its figures are averaged.

A lens reads the rows of a run as another paper's protocol would have scored them. It is a pure function: the same
edits, probes, rows and settings give the same figures, and no model is needed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from reground.edits.records import Edit, Probe, Record, Row
from reground.errors import InputError
from reground.evaluation.bootstrap import intervals
from reground.evaluation.labels import NO_REFERENCE, NO_ROW, Measure, Unscored
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.scores import GroupKey

__all__ = [
    "NO_TOKENS",
    "Asked",
    "Lens",
    "LensScore",
    "Measures",
    "in_scope_share",
    "kept_ranks",
    "look_through",
]

_NO_TF = "no teacher-forced score is recorded: method or model cannot score a given text"
NO_TOKENS = "no most likely tokens are recorded: run with --set protocol.keeps_forced_tokens=true"
_OTHER_TEXT = "other texts were fed before and after the edit"
_TOO_FEW_RANKS = "fewer ranks are recorded than the lens compares"
_NO_PROBE = "the benchmark has no such probes"


@dataclass(frozen=True)
class Asked:
    """One probe put to an edited model.

    Attributes:
        edit: What was edited.
        probe: What was asked.
        before: The unedited model's row; None if it is not recorded.
        after: The edited model's row.
    """

    edit: Edit
    probe: Probe
    before: Row | None
    after: Row


#: What one probe contributes, by metric.
Measures = Mapping[str, Measure]


@dataclass(frozen=True)
class Lens:
    """Another paper's protocol.

    Attributes:
        name: Its name here.
        summary: One line for a person.
        source: Whose protocol it is.
        metrics: Its metrics, in the order they are shown.
        columns: The metrics a probe belongs to, whether or not it can be scored; none for a kind the protocol lacks.
        measure: What a probe that was put contributes to each of its metrics; asked only where it has any.
        differs: How these figures differ from what the source's code computes, in sentences.
        flaw: What is wrong with the protocol, to be shown wherever its figures are; None if nothing is.
    """

    name: str
    summary: str
    source: str
    metrics: tuple[str, ...]
    columns: Callable[[Probe], Sequence[str]]
    measure: Callable[[Asked], Measures]
    differs: tuple[str, ...] = ()
    flaw: str | None = None


class LensScore(Record):
    """One figure of a lens.

    Attributes:
        lens: Name of the lens.
        flaw: What is wrong with its protocol; None if nothing is.
        method, model, benchmark, schedule, checkpoint: What was measured; ``checkpoint`` counts edits applied.
        metric: A metric of the lens.
        value: Mean over probes, in [0, 1]; None if nothing could be scored, for the ``reason`` given.
        low, high: Interval clustered by edit; None with fewer than two edits.
        n: Probes scored.
        num_unscored: Probes that belong here and could not be scored.
        reason: Why ``value`` is None.
        unscored_reasons: ``num_unscored`` by reason.
    """

    lens: str
    flaw: str | None
    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    num_unscored: int
    reason: str | None = None
    unscored_reasons: dict[str, int] = Field(default_factory=dict)


@dataclass
class _Column:
    """One metric of one group: per edit, the sum and number of scored probes; and why others are unscored."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)

    def add(self, edit_id: str, measure: Measure) -> None:
        if isinstance(measure, Unscored):
            self.unscored[measure.reason] += 1
        else:
            self.sums[edit_id] += measure
            self.counts[edit_id] += 1


@dataclass
class _Group:
    """Rows of one method after editing, and the edits whose step failed."""

    rows: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def look_through(
    lens: Lens,
    edits: Iterable[Edit],
    probes: Iterable[Probe],
    rows: Iterable[Row],
    *,
    settings: ProtocolSettings | None = None,
) -> tuple[LensScore, ...]:
    """The figures of a lens for every method of a run.

    Args:
        lens: The lens.
        edits: What was edited.
        probes: What was asked. On the ``single`` schedule every probe of every edit is expected of each method; on
            the others, the probes of the edits that were put at that checkpoint.
        rows: The journal.
        settings: Resampling settings; the protocol's by default.

    Raises:
        InputError: A row names an edit or a probe that is not among those given.
    """
    edit_of = {edit.id: edit for edit in edits}
    probe_of = {probe.id: probe for probe in probes}
    groups, references = _sorted_rows(rows, edit_of, probe_of)
    found: list[LensScore] = []
    for key, group in groups.items():
        columns = {metric: _Column() for metric in lens.metrics}
        put = {row.edit_id for row in group.rows.values()} | set(group.failed)
        for probe in probe_of.values():
            if key.schedule != "single" and probe.edit_id not in put:
                continue
            for metric, measure in _measures(lens, key, group, probe, edit_of[probe.edit_id], references).items():
                columns[metric].add(probe.edit_id, measure)
        found += [
            _score(lens, key, metric, column, list(edit_of), settings or ProtocolSettings())
            for metric, column in columns.items()
        ]
    return tuple(found)


def _sorted_rows(
    rows: Iterable[Row], edit_of: Mapping[str, Edit], probe_of: Mapping[str, Probe]
) -> tuple[dict[GroupKey, _Group], dict[tuple[str, str, str], Row]]:
    """The groups, and the unedited model's rows by model, benchmark and probe."""
    groups: dict[GroupKey, _Group] = {}
    references: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        if row.edit_id not in edit_of or (row.probe_id is not None and row.probe_id not in probe_of):
            raise InputError(
                f"a row of step {row.step} is about edit {row.edit_id!r} and probe {row.probe_id!r}, not both given.",
                f"one of the {len(edit_of)} edits and {len(probe_of)} probes given",
                "give the edits and probes that were asked in the run, as its directory keeps them.",
            )
        if row.phase == "before":
            if row.probe_id is not None:
                references[row.model, row.benchmark, row.probe_id] = row
            continue
        key = GroupKey(row.method, row.model, row.benchmark, row.schedule, row.checkpoint)
        group = groups.setdefault(key, _Group())
        if row.failure is not None:
            group.failed[row.edit_id] = row.failure.stage
        elif row.probe_id is not None:
            group.rows[row.probe_id] = row
    return groups, references


def _measures(
    lens: Lens,
    key: GroupKey,
    group: _Group,
    probe: Probe,
    edit: Edit,
    references: Mapping[tuple[str, str, str], Row],
) -> Measures:
    columns = lens.columns(probe)
    if not columns:
        return {}
    after = group.rows.get(probe.id)
    if after is None:
        failed = group.failed.get(edit.id)
        return dict.fromkeys(columns, Unscored(f"step failed: {failed}" if failed is not None else NO_ROW))
    return lens.measure(Asked(edit, probe, references.get((key.model, key.benchmark, probe.id)), after))


def _score(
    lens: Lens, key: GroupKey, metric: str, column: _Column, edit_ids: Sequence[str], settings: ProtocolSettings
) -> LensScore:
    sums_E1 = np.array([[column.sums.get(edit_id, 0.0)] for edit_id in edit_ids], dtype=np.float64)
    counts_E1 = np.array([[column.counts[edit_id]] for edit_id in edit_ids], dtype=np.float64)
    (interval,) = intervals(
        sums_E1,
        counts_E1,
        num_resamples=settings.bootstrap_resamples,
        seed=settings.bootstrap_seed,
        confidence=settings.confidence,
    )
    n, num_unscored = column.counts.total(), column.unscored.total()
    reason = None
    if n == 0:
        reason = "; ".join(why for why, _ in column.unscored.most_common()) or _NO_PROBE
    return LensScore(
        lens=lens.name,
        flaw=lens.flaw,
        method=key.method,
        model=key.model,
        benchmark=key.benchmark,
        schedule=key.schedule,
        checkpoint=key.checkpoint,
        metric=metric,
        value=float(sums_E1.sum()) / n if n else None,
        low=interval.low,
        high=interval.high,
        n=n,
        num_unscored=num_unscored,
        reason=reason,
        unscored_reasons=dict(column.unscored.most_common()),
    )


def in_scope_share(after: Row) -> Measure:
    """The share of the expected answer's tokens that are the most likely ones under teacher forcing."""
    return Unscored(_NO_TF) if after.tf is None else after.tf


def kept_ranks(before: Row | None, after: Row, num_ranks: int) -> Measure:
    """Share in [0, 1] of places, over target tokens and ranks, that hold the same token before and after the edit.

    A token that moved by one rank counts as lost in both of its places. Ids are compared as integers.

    Args:
        before: The unedited model's row.
        after: The edited model's row.
        num_ranks: How many of the most likely tokens are compared, in order.
    """
    if before is None:
        return Unscored(NO_REFERENCE)
    if before.forced is None or after.forced is None:
        return Unscored(NO_TOKENS)
    if before.forced.target_ids != after.forced.target_ids:
        return Unscored(_OTHER_TEXT)
    pairs = list(zip(before.forced.top_ids, after.forced.top_ids, strict=True))
    if any(min(len(then), len(now)) < num_ranks for then, now in pairs):
        return Unscored(_TOO_FEW_RANKS)
    kept = sum(then[rank] == now[rank] for then, now in pairs for rank in range(num_ranks))
    return kept / (len(pairs) * num_ranks)
