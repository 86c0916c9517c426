"""From rows to a summary: every score, its interval, and what could not be scored.

Nothing here runs a model. The same edits, probes, rows, beliefs, reader and settings give the same summary.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

import reground
from reground.edits.records import Answer, Edit, Probe, Row
from reground.errors import InputError
from reground.evaluation.bootstrap import (
    ClusterTotals,
    Interval,
    interval_of_percentile,
    intervals,
    paired_difference,
)
from reground.evaluation.labels import (
    COLLAPSED_OUTCOMES,
    LABELS,
    NO_REFERENCE,
    NO_ROW,
    Judgement,
    Label,
    Measure,
    Unscored,
    judge_probe,
    prior_of,
)
from reground.evaluation.locality import independence, kept_correct
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.results import Comparison, Example, Score, Summary
from reground.evaluation.stance import Stance, StanceReader
from reground.evaluation.strata import STRATA, Belief, Stratum, strata_of, stratum

__all__ = ["HEADLINES", "GroupKey", "summarise"]

#: The figures methods are compared on, as (metric, level).
HEADLINES: tuple[tuple[str, str], ...] = (
    ("tf", "exact"),
    ("answer", "exact"),
    ("grounded", "exact"),
    ("grounded", "generality"),
    ("grounded", "hop1"),
    ("grounded", "multi_hop"),
    ("independence_text", "near"),
    ("independence_text", "far"),
    ("independence_image", "near"),
    ("independence_image", "far"),
)

_IN_SCOPE_METRICS = (
    "tf",
    "answer",
    "token_f1",
    "grounded",
    "illusion_gap",
    "collapse",
    *(f"collapse_{outcome}" for outcome in COLLAPSED_OUTCOMES),
    *(label for label in LABELS if label not in ("grounded", "collapse")),
    "chain_length_ratio",
)
_HOP_METRICS = ("intermediate_usage", "hop_accuracy")
_LOCALITY_METRICS = ("independence", "kept_correct")
#: A level of portability: the number of hops and, where stated, where the edited fact stands among them.
_HOP = re.compile(r"(hop([0-9]+))(?:\.(first|middle|last|composed))?")
_NO_BELIEFS = "No beliefs were sampled: figures are given for all edits together, not per stratum."
_NOT_RECORDED = "not recorded for this step"


@dataclass(frozen=True)
class GroupKey:
    """What one set of scores is about."""

    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    chain_tokens: int | None = None


@dataclass
class _Column:
    """One metric at one level within a group: per edit, the scored values and the reasons for the others."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    unscored: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    absent: str | None = None

    def add(self, edit_id: str, measure: Measure) -> None:
        if isinstance(measure, Unscored):
            self.unscored[edit_id][measure.reason] += 1
        else:
            self.sums[edit_id] += measure
            self.counts[edit_id] += 1


@dataclass
class _Group:
    """The rows of one group, and what is computed from them."""

    key: GroupKey
    rows: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    steps: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    columns: dict[tuple[str, str], _Column] = field(default_factory=lambda: defaultdict(_Column))
    labelled: dict[Label, list[str]] = field(default_factory=lambda: defaultdict(list))


def summarise(
    edits: Iterable[Edit],
    probes: Iterable[Probe],
    rows: Iterable[Row],
    beliefs: Iterable[Belief] = (),
    reader: StanceReader | None = None,
    *,
    settings: ProtocolSettings | None = None,
    run: str | None = None,
    notes: Sequence[str] = (),
    tags: Mapping[str, Sequence[str]] | None = None,
) -> Summary:
    """Every score of a run, with intervals, comparisons, examples and what could not be scored.

    Args:
        edits: What was edited.
        probes: What was asked. On the ``single`` schedule every probe of every edit is expected in each
            group; on the others, the probes of the edits that were put at that checkpoint.
        rows: The journal. Rows of phase ``before`` are the reference, whichever method name they carry: a
            method's own are preferred, any other method's stand in for them. A probe that was put again later
            counts once, as last.
        beliefs: What the unedited models believed; without them there is no stratum but ``all``.
        reader: The stance reader; the rules by default.
        settings: Resampling settings; the protocol's by default.
        run: Id of the run; the rows' own by default.
        notes: Sentences to keep in the summary before those found here.
        tags: By edit id, further sorts the benchmark puts an edit in; each has scores like a stratum.

    Raises:
        InputError: A row or belief names an edit or a probe that is not among those given.
    """
    settings = settings or ProtocolSettings()
    reader = _Remembered(reader or _default_reader())
    edit_of = {edit.id: edit for edit in edits}
    probe_of = {probe.id: probe for probe in probes}
    probes_of: dict[str, dict[str, Probe]] = defaultdict(dict)
    for probe_id, probe in probe_of.items():
        _require("probe", probe_id, "edit", probe.edit_id, edit_of)
        probes_of[probe.edit_id][probe_id] = probe
    kept_rows = list(rows)
    references = _References()
    failed_references: list[Row] = []
    groups: dict[GroupKey, _Group] = {}
    for row in kept_rows:
        _require("row", f"of step {row.step}", "edit", row.edit_id, edit_of)
        if row.probe_id is not None:
            _require("row", f"of step {row.step}", "probe", row.probe_id, probe_of)
        if row.phase == "before" and row.failure is None:
            references.add(row)
        elif row.phase == "after":
            _file(groups, row)
        else:
            failed_references.append(row)
    stratum_of = _strata(beliefs, edit_of)
    scores: list[Score] = []
    examples: list[Example] = []
    for group in groups.values():
        expected = edit_of if group.key.schedule == "single" else {**group.failed, **_edits_put(group)}
        for edit_id in (edit_id for edit_id in edit_of if edit_id in expected):
            _judge_edit(group, edit_id, edit_of[edit_id], probes_of[edit_id], references, reader)
        _declare_absent(group)
        filed = _filed(edit_of, stratum_of.get(group.key.model, {}), tags or {})
        scores += _scores(group, filed, settings)
        scores += _costs(group, references, settings)
        examples += _examples(group, probe_of)
    return Summary(
        protocol_version=reground.PROTOCOL_VERSION,
        package_version=reground.__version__,
        reader=reader.name,
        run=run or (kept_rows[0].run if kept_rows else "none"),
        methods=tuple(dict.fromkeys(key.method for key in groups)),
        num_failed_steps=len(failed_references) + sum(_num_failed(group) for group in groups.values()),
        num_edits=len(edit_of),
        num_probes=len(probe_of),
        strata={model: dict(Counter(of.values())) for model, of in stratum_of.items()},
        notes=(*notes, *_notes(groups.values(), failed_references, stratum_of, edit_of)),
        scores=tuple(scores),
        comparisons=tuple(_comparisons(groups, list(edit_of), settings)),
        examples=tuple(examples),
    )


def _default_reader() -> StanceReader:
    from reground.evaluation.stance import RuleStanceReader  # its tables are compiled only if they are used

    return RuleStanceReader()


class _References:
    """Rows of the unedited model, found by probe: the method's own, or else any method's for that model."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int | None, str, str | None], Row] = {}
        self._num_in_batch: Counter[tuple[str, str, int | None, str, int]] = Counter()

    def add(self, row: Row) -> None:
        assert row.probe_id is not None, "a row of the unedited model always has a probe"
        self._rows[row.model, row.benchmark, row.chain_tokens, row.probe_id, row.method] = row
        self._rows.setdefault((row.model, row.benchmark, row.chain_tokens, row.probe_id, None), row)
        self._num_in_batch[row.model, row.benchmark, row.chain_tokens, row.method, row.step] += 1

    def find(self, key: GroupKey, probe_id: str) -> Row | None:
        own = self._rows.get((key.model, key.benchmark, key.chain_tokens, probe_id, key.method))
        return own or self._rows.get((key.model, key.benchmark, key.chain_tokens, probe_id, None))

    def seconds_per_probe(self, row: Row) -> float | None:
        """The batch's seconds divided among the probes of the batch."""
        if row.timings.generate_s is None:
            return None
        batch = (row.model, row.benchmark, row.chain_tokens, row.method, row.step)
        return row.timings.generate_s / self._num_in_batch[batch]


class _Remembered:
    """A stance reader that reads the same chain about the same fact once."""

    def __init__(self, reader: StanceReader) -> None:
        self._reader = reader
        self._read: dict[tuple[str, Answer, Answer | None, str], Stance] = {}

    @property
    def name(self) -> str:
        return self._reader.name

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        asked = (chain, new, prior, question)
        if asked not in self._read:
            self._read[asked] = self._reader.read(chain, new=new, prior=prior, question=question)
        return self._read[asked]


def _require(what: str, which: str, noun: str, wanted: str, known: Mapping[str, object]) -> None:
    if wanted not in known:
        raise InputError(
            f"{what} {which} names {noun} {wanted!r}, which was not given.",
            f"one of the {len(known)} {noun}s the scores are computed for",
            f"give the {noun}s that were asked in the run, as its directory keeps them.",
        )


def _file(groups: dict[GroupKey, _Group], row: Row) -> None:
    key = GroupKey(row.method, row.model, row.benchmark, row.schedule, row.checkpoint, row.chain_tokens)
    group = groups.setdefault(key, _Group(key))
    if row.failure is not None:
        group.failed[row.edit_id] = row.failure.stage
    elif row.probe_id is not None:
        group.rows[row.probe_id] = row
    group.steps[row.step].append(row)


def _edits_put(group: _Group) -> dict[str, str]:
    return {row.edit_id: "put" for row in group.rows.values()}


def _num_failed(group: _Group) -> int:
    return sum(all(row.failure is not None for row in rows) for rows in group.steps.values())


def _strata(beliefs: Iterable[Belief], edit_of: Mapping[str, Edit]) -> dict[str, dict[str, Stratum]]:
    found: dict[str, dict[str, Stratum]] = defaultdict(dict)
    for belief in beliefs:
        _require("belief", f"of model {belief.model!r}", "edit", belief.edit_id, edit_of)
        found[belief.model][belief.edit_id] = stratum(belief, edit_of[belief.edit_id])
    return dict(found)


def _judge_edit(
    group: _Group,
    edit_id: str,
    edit: Edit,
    probes: Mapping[str, Probe],
    references: _References,
    reader: StanceReader,
) -> None:
    """Adds what the probes of one edit say to the group's columns."""
    exact = next((probe_id for probe_id, probe in probes.items() if probe.kind == "reliability"), None)
    exact_before = references.find(group.key, exact) if exact is not None else None
    prior = prior_of(edit, exact_before.trace if exact_before is not None else None)
    grounded: dict[str, list[Measure]] = {"exact": [], "beyond": []}
    missing = f"step failed: {group.failed[edit_id]}" if edit_id in group.failed else NO_ROW
    for probe_id, probe in probes.items():
        before, after = references.find(group.key, probe_id), group.rows.get(probe_id)
        if probe.is_local:
            side = probe.kind.removesuffix("_locality")
            kept: Measure = Unscored(missing)
            same: Measure = Unscored(missing)
            if after is not None:
                same, kept = independence(edit, probe, before, after), kept_correct(probe, before, after)
            for level in _local_levels(probe):
                group.columns[f"independence_{side}", level].add(edit_id, same)
                group.columns[f"kept_correct_{side}", level].add(edit_id, kept)
            continue
        judgement = Judgement.unscored(missing)
        if after is not None:
            judgement = judge_probe(edit, probe, before, after, reader, prior)
        measures = _measures(judgement, is_hop=probe.kind == "portability")
        for level in _in_scope_levels(probe):
            for metric, measure in measures.items():
                group.columns[metric, level].add(edit_id, measure)
        grounded["exact" if probe.kind == "reliability" else "beyond"].append(judgement.grounded)
        if not isinstance(judgement.label, Unscored):
            group.labelled[judgement.label].append(probe_id)
    group.columns["shallow", "all"].add(edit_id, _shallow(grounded["exact"], grounded["beyond"]))


def _measures(judgement: Judgement, *, is_hop: bool) -> dict[str, Measure]:
    """What one judgement contributes to each metric."""
    tf, grounded, label = judgement.tf, judgement.grounded, judgement.label
    gap = tf if isinstance(tf, Unscored) else grounded if isinstance(grounded, Unscored) else tf - grounded
    measures: dict[str, Measure] = {
        "tf": tf,
        "answer": judgement.answer,
        "token_f1": judgement.token_f1,
        "grounded": grounded,
        "illusion_gap": gap,
        "collapse": judgement.collapse,
        "chain_length_ratio": judgement.chain_length_ratio,
    }
    for outcome in COLLAPSED_OUTCOMES:
        is_it = judgement.outcome == outcome
        fell = judgement.collapse
        measures[f"collapse_{outcome}"] = fell if isinstance(fell, Unscored) else float(bool(fell) and is_it)
    # Without a chain to read, "collapse" is a finding and "no dissonance" is not.
    failure = grounded if isinstance(grounded, Unscored) else label
    for name in LABELS:
        if name not in ("grounded", "collapse"):
            measures[name] = failure if isinstance(failure, Unscored) else float(failure == name)
    if is_hop:
        measures["intermediate_usage"] = judgement.intermediate_usage
        measures["hop_accuracy"] = judgement.hop_accuracy
    return measures


def _shallow(exact: Sequence[Measure], beyond: Sequence[Measure]) -> Measure:
    """1 if grounded on every exact probe and not on every other, 0 if not; unscored while that is open."""
    if not exact or not beyond:
        return Unscored("the edit has no exact probe" if not exact else "the edit has no probe beyond the exact one")
    if any(measure == 0.0 for measure in exact):
        return 0.0
    open_exact = next((measure for measure in exact if isinstance(measure, Unscored)), None)
    if open_exact is not None:
        return open_exact
    if any(measure == 0.0 for measure in beyond):
        return 1.0
    return next((measure for measure in beyond if isinstance(measure, Unscored)), 0.0)


def _in_scope_levels(probe: Probe) -> tuple[str, ...]:
    levels = [probe.level]
    if probe.kind == "reliability":
        levels.append("exact")
    elif probe.kind == "generality":
        levels.append("generality")
    else:
        levels.append("portability")
        hop = _HOP.fullmatch(probe.level)
        if hop is not None:
            levels += [hop[1], *hop.groups()[2:]] if hop[3] else []
            if int(hop[2]) >= 2:
                levels.append("multi_hop")
    return tuple(dict.fromkeys((*levels, "all")))


def _local_levels(probe: Probe) -> tuple[str, ...]:
    return tuple(dict.fromkeys((probe.level, str(probe.distance), "all")))


def _declare_absent(group: _Group) -> None:
    """Gives every promised metric a column, so that what a benchmark lacks is said and not left out."""
    for level, what in (
        ("exact", "exact"),
        ("generality", "generality"),
        ("portability", "portability"),
        ("multi_hop", "multi-hop portability"),
        ("all", "in-scope"),
    ):
        hop_metrics = _HOP_METRICS if level in ("portability", "multi_hop") else ()
        for metric in (*_IN_SCOPE_METRICS, *hop_metrics):
            if (metric, level) not in group.columns:
                group.columns[metric, level].absent = f"the benchmark has no {what} probes"
    for metric in _LOCALITY_METRICS:
        for side in ("text", "image"):
            for level in ("near", "far", "all"):
                if (f"{metric}_{side}", level) not in group.columns:
                    what = f"{side} locality probes" if level == "all" else f"{level} {side} locality probes"
                    group.columns[f"{metric}_{side}", level].absent = f"the benchmark has no {what}"


def _filed(
    edit_ids: Iterable[str], stratum_of: Mapping[str, Stratum], tags: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Under which strata and tags the scores of each edit count."""
    return {edit_id: (*strata_of(stratum_of.get(edit_id)), *tags.get(edit_id, ())) for edit_id in edit_ids}


def _scores(group: _Group, filed: Mapping[str, Sequence[str]], settings: ProtocolSettings) -> list[Score]:
    """The scores of every column of a group, for all edits and for each stratum and tag that has any."""
    edit_ids = list(filed)
    labels = list(group.columns)
    sums_EM = np.array([[group.columns[label].sums.get(e, 0.0) for label in labels] for e in edit_ids])
    counts_EM = np.array([[float(group.columns[label].counts.get(e, 0)) for label in labels] for e in edit_ids])
    scores = []
    tags = sorted({name for names in filed.values() for name in names} - set(STRATA))
    for name in (*STRATA, *tags):
        member = [i for i, edit_id in enumerate(edit_ids) if name in filed[edit_id]]
        if not member:
            continue
        member_ids = {edit_ids[i] for i in member}
        found = intervals(
            sums_EM[member],
            counts_EM[member],
            num_resamples=settings.bootstrap_resamples,
            seed=settings.bootstrap_seed,
            confidence=settings.confidence,
        )
        sums_M, counts_M = sums_EM[member].sum(axis=0), counts_EM[member].sum(axis=0)
        for position, label in enumerate(labels):
            column = group.columns[label]
            reasons: Counter[str] = Counter()
            for edit_id, of_edit in column.unscored.items():
                if edit_id in member_ids:
                    reasons.update(of_edit)
            n = int(counts_M[position])
            if n + reasons.total() == 0 and (column.absent is None or name != "all"):
                continue
            value = float(sums_M[position] / n) if n else None
            scores.append(_score(group.key, label, name, value, found[position], n, reasons, column.absent))
    return scores


def _score(
    key: GroupKey,
    label: tuple[str, str],
    stratum_name: str,
    value: float | None,
    interval: Interval,
    n: int,
    reasons: Counter[str],
    absent: str | None = None,
) -> Score:
    reason = None
    if value is None:
        reason = absent or "; ".join(f"{why} ({count})" for why, count in reasons.most_common())
    return Score(
        method=key.method,
        model=key.model,
        benchmark=key.benchmark,
        schedule=key.schedule,
        checkpoint=key.checkpoint,
        metric=label[0],
        level=label[1],
        stratum=stratum_name,
        value=value,
        low=interval.low,
        high=interval.high,
        n=n,
        num_unscored=reasons.total(),
        reason=reason,
        unscored_reasons=dict(sorted(reasons.items())),
        chain_tokens=key.chain_tokens,
    )


def _costs(group: _Group, references: _References, settings: ProtocolSettings) -> list[Score]:
    """What applying and asking cost, one value per step."""
    steps = [_step_costs(group.key, rows, references) for _, rows in sorted(group.steps.items())]
    scores = []
    for metric, source, percentile in (
        ("apply_s_p50", "apply_s", 50.0),
        ("apply_s_p95", "apply_s", 95.0),
        ("peak_bytes", "peak_bytes", None),
        ("stored_bytes", "stored_bytes", None),
        ("query_overhead_s", "query_overhead_s", None),
    ):
        measures = [step[source] for step in steps]
        values = [measure for measure in measures if not isinstance(measure, Unscored)]
        reasons = Counter(measure.reason for measure in measures if isinstance(measure, Unscored))
        value, interval = None, Interval(None, None)
        resampling = {"num_resamples": settings.bootstrap_resamples, "seed": settings.bootstrap_seed}
        if values and percentile is not None:
            value = float(np.percentile(values, percentile))
            interval = interval_of_percentile(values, percentile, confidence=settings.confidence, **resampling)
        elif values:
            value = float(np.mean(values))
            column_E1 = np.array(values, dtype=np.float64)[:, None]
            interval = intervals(column_E1, np.ones_like(column_E1), confidence=settings.confidence, **resampling)[0]
        scores.append(_score(group.key, (metric, "all"), "all", value, interval, len(values), reasons))
    return scores


def _step_costs(key: GroupKey, rows: Sequence[Row], references: _References) -> dict[str, Measure]:
    finished = [row for row in rows if row.failure is None]
    if not finished:
        failure = next(row.failure for row in rows if row.failure is not None)
        why = Unscored(f"step failed: {failure.stage}")
        return dict.fromkeys(("apply_s", "peak_bytes", "stored_bytes", "query_overhead_s"), why)
    first = finished[0]
    costs: dict[str, Measure] = {}
    for name, number in (
        ("apply_s", first.timings.apply_s),
        ("peak_bytes", first.peak_bytes),
        ("stored_bytes", first.stored_bytes),
    ):
        costs[name] = Unscored(_NOT_RECORDED) if number is None else float(number)
    costs["query_overhead_s"] = _query_overhead(key, finished, references)
    return costs


def _query_overhead(key: GroupKey, rows: Sequence[Row], references: _References) -> Measure:
    after_s = rows[0].timings.generate_s
    before_rows = [references.find(key, row.probe_id) for row in rows if row.probe_id is not None]
    before_s = [references.seconds_per_probe(row) for row in before_rows if row is not None]
    known = [seconds for seconds in before_s if seconds is not None]
    if after_s is None or not rows or len(known) < len(rows):
        return Unscored("generation was not timed both before and after the edit")
    return after_s / len(rows) - sum(known) / len(known)


def _examples(group: _Group, probe_of: Mapping[str, Probe]) -> list[Example]:
    """For each label of a group, how often it was given and one output with it: an exact probe's, if any."""
    examples = []
    for label in LABELS:
        probe_ids = group.labelled.get(label, [])
        if not probe_ids:
            continue
        chosen = next((p for p in probe_ids if probe_of[p].kind == "reliability"), probe_ids[0])
        probe, raw = probe_of[chosen], group.rows[chosen].raw
        if raw is None or probe.expectation.answer is None:
            continue
        examples.append(
            Example(
                method=group.key.method,
                model=group.key.model,
                benchmark=group.key.benchmark,
                schedule=group.key.schedule,
                checkpoint=group.key.checkpoint,
                label=label,
                count=len(probe_ids),
                edit_id=probe.edit_id,
                probe_id=chosen,
                level=probe.level,
                question=probe.question,
                expected=probe.expectation.answer.text,
                raw=raw,
                chain_tokens=group.key.chain_tokens,
            )
        )
    return examples


def _comparisons(
    groups: Mapping[GroupKey, _Group], edit_ids: Sequence[str], settings: ProtocolSettings
) -> list[Comparison]:
    """Paired differences of every two methods of the same model, benchmark, schedule and checkpoint."""
    comparisons = []
    for a, b in combinations(groups.values(), 2):
        if replace(a.key, method=b.key.method) != b.key:
            continue
        for metric, level in HEADLINES:
            if (metric, level) not in a.columns or (metric, level) not in b.columns:
                continue
            gap = paired_difference(
                _totals(a.columns[metric, level], edit_ids),
                _totals(b.columns[metric, level], edit_ids),
                num_resamples=settings.bootstrap_resamples,
                seed=settings.bootstrap_seed,
                confidence=settings.confidence,
            )
            if gap.num_edits:
                comparisons.append(
                    Comparison(
                        a=a.key.method,
                        b=b.key.method,
                        model=a.key.model,
                        benchmark=a.key.benchmark,
                        schedule=a.key.schedule,
                        checkpoint=a.key.checkpoint,
                        metric=metric,
                        level=level,
                        value=gap.value,
                        low=gap.low,
                        high=gap.high,
                        num_edits=gap.num_edits,
                        chain_tokens=a.key.chain_tokens,
                    )
                )
    return comparisons


def _totals(column: _Column, edit_ids: Sequence[str]) -> ClusterTotals:
    return ClusterTotals(
        tuple(edit_ids),
        tuple(column.sums.get(edit_id, 0.0) for edit_id in edit_ids),
        tuple(float(column.counts.get(edit_id, 0)) for edit_id in edit_ids),
    )


def _notes(
    groups: Iterable[_Group],
    failed_references: Sequence[Row],
    stratum_of: Mapping[str, Mapping[str, Stratum]],
    edit_of: Mapping[str, Edit],
) -> list[str]:
    """What a reader of the numbers should know, in sentences."""
    notes = []
    for row in failed_references:
        stage = row.failure.stage if row.failure is not None else "unknown"
        notes.append(f"{row.model}: asking the unedited model failed at {stage} in step {row.step}.")
    models: dict[str, None] = {}
    groups = list(groups)
    for budget in dict.fromkeys(group.key.chain_tokens for group in groups):
        if budget is not None:
            how = f"closed at the end of a sentence after {budget} token(s)" if budget else "left empty"
            notes.append(f"The chains of the probes were {how}; beliefs were sampled with the model's own chains.")
    for group in groups:
        models[group.key.model] = None
        where = f"{group.key.method} on {group.key.model}"
        stages = Counter(stage for edit_id, stage in group.failed.items() if edit_id not in _edits_put(group))
        for stage, count in sorted(stages.items()):
            notes.append(f"{where}: {count} step(s) failed at {stage}; their probes are unscored.")
        put = [row for rows in group.steps.values() for row in rows]
        unrestored = {row.step for row in put if row.is_restored_exactly is False}
        if unrestored:
            notes.append(f"{where}: after {len(unrestored)} step(s) the model was not restored bit for bit.")
        reasons = {why for column in group.columns.values() for of in column.unscored.values() for why in of}
        if NO_REFERENCE in reasons:
            notes.append(f"{where}: some probes have no output of the unedited model.")
        if NO_ROW in reasons:
            notes.append(f"{where}: some probes were not put to the edited model; the run is incomplete.")
    for model in models:
        believed = stratum_of.get(model)
        if believed is None:
            notes.append(_NO_BELIEFS if len(models) == 1 else f"{model}: {_NO_BELIEFS}")
        elif len(believed) < len(edit_of):
            notes.append(f"{model}: {len(edit_of) - len(believed)} edit(s) have no sampled belief and no stratum.")
    return notes
