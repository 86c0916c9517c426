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
from reground.edits.records import Answer, Edit, Probe, Row, Trace
from reground.errors import InputError
from reground.evaluation.bootstrap import (
    ClusterTotals,
    Interval,
    interval_of_percentile,
    intervals,
    paired_difference,
)
from reground.evaluation.forgetting import (
    AGES,
    DECIDED_BY_ANOTHER,
    ForceOrder,
    age_stratum,
    edits_to_pay_off,
    half_point,
    independent_difference,
    spread,
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
#: Stands for a checkpoint until the length of a chain is known.
_WHOLE_CHAIN = -1
#: Figures that are followed from checkpoint to checkpoint: how far orders differ, and where half of them is lost.
_FOLLOWED: tuple[tuple[str, str], ...] = (("tf", "exact"), ("answer", "exact"), ("grounded", "exact"))
_SIDE_EFFECTS: tuple[tuple[str, str], ...] = tuple(
    (f"independence_{side}", level) for side in ("text", "image") for level in ("near", "far", "all")
)


@dataclass(frozen=True)
class GroupKey:
    """What one set of scores is about."""

    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    chain_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Put:
    """What counts of a row with a probe: far less than the row, of which there may be a million."""

    raw: str | None
    trace: Trace | None
    tf: float | None
    checkpoint: int
    age: int | None


@dataclass(slots=True)
class _Step:
    """What counts of the rows of a step together."""

    order: int | None
    apply_s: float | None = None
    num_applied: int | None = None
    peak_bytes: int | None = None
    stored_bytes: int | None = None
    generate_s: float | None = None
    is_finished: bool = False
    failure: str | None = None
    is_unrestored: bool = False
    probe_ids: list[str] = field(default_factory=list)


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
    """The rows of one group, and what is computed from them.

    Attributes:
        put: By order of edits (None for edits that stand alone) and probe, what came back.
        failed: By order and edit, the stage at which it failed.
        steps: By number.
        longest: The most edits that were applied.
        columns: By metric and level.
        parts: The same for each age and order, for the figures that are followed over a chain.
        labelled: By label, order and probe.
    """

    key: GroupKey
    put: dict[int | None, dict[str, _Put]] = field(default_factory=lambda: defaultdict(dict))
    failed: dict[int | None, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    steps: dict[int, _Step] = field(default_factory=dict)
    columns: dict[tuple[str, str], _Column] = field(default_factory=lambda: defaultdict(_Column))
    parts: dict[str, dict[tuple[str, str], _Column]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(_Column))
    )
    labelled: dict[Label, list[tuple[int | None, str]]] = field(default_factory=lambda: defaultdict(list))
    longest: int = 0


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
    orders: Sequence[Sequence[str]] = (),
    fit_seconds: Mapping[str, float] | None = None,
) -> Summary:
    """Every score of a run, with intervals, comparisons, examples and what could not be scored.

    Args:
        edits: What was edited.
        probes: What was asked. On the ``single`` schedule every probe of every edit is expected in each
            group; on the others, the probes of the edits that were put at that checkpoint.
        rows: The journal, read once. Rows of phase ``before`` are the reference, whichever method name they carry: a
            method's own are preferred, any other method's stand in for them. A probe that was put again later
            counts once, as last.
        beliefs: What the unedited models believed; without them there is no stratum but ``all``.
        reader: The stance reader; the rules by default.
        settings: Resampling settings; the protocol's by default.
        run: Id of the run; the rows' own by default.
        notes: Sentences to keep in the summary before those found here.
        tags: By edit id, further sorts the benchmark puts an edit in; each has scores like a stratum.
        orders: For each order of the run's chains, ids of the edits as they are applied: tells which probe is decided
            by another edit that is in force.
        fit_seconds: By method, what its training took, once.

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
    in_force = ForceOrder(edit_of, list(probe_of.values()), orders)
    references = _References()
    failed_references: list[Row] = []
    groups: dict[GroupKey, _Group] = {}
    for row in rows:
        run = run or row.run
        _require("row", f"of step {row.step}", "edit", row.edit_id, edit_of)
        if row.probe_id is not None:
            _require("row", f"of step {row.step}", "probe", row.probe_id, probe_of)
        if row.phase == "before" and row.failure is None:
            references.add(row)
        elif row.phase == "after":
            _file(groups, row, probe_of)
        else:
            failed_references.append(row)
    groups = {group.key: group for group in map(_with_its_length, groups.values())}
    stratum_of = _strata(beliefs, edit_of)
    scores: list[Score] = []
    examples: list[Example] = []
    for group in groups.values():
        for order, edit_ids in _expected(group, edit_of, probe_of).items():
            for edit_id in edit_ids:
                _judge_edit(group, order, edit_of[edit_id], probes_of[edit_id], references, reader, in_force)
        _declare_absent(group)
        filed = _filed(edit_of, stratum_of.get(group.key.model, {}), tags or {})
        scores += _scores(group, filed, settings)
        scores += _part_scores(group, list(edit_of), settings)
        scores += _costs(group, references, settings)
        scores += _fit_costs(group.key, (fit_seconds or {}).get(group.key.method))
        examples += _examples(group, probe_of)
    scores += _forgetting(groups, list(edit_of), scores, settings)
    return Summary(
        protocol_version=reground.PROTOCOL_VERSION,
        package_version=reground.__version__,
        reader=reader.name,
        run=run or "none",
        methods=tuple(dict.fromkeys(key.method for key in groups)),
        num_failed_steps=len(failed_references) + sum(_num_failed(group) for group in groups.values()),
        num_edits=len(edit_of),
        num_probes=len(probe_of),
        strata={model: dict(Counter(of.values())) for model, of in stratum_of.items()},
        notes=(*notes, *_notes(groups.values(), failed_references, stratum_of, probe_of, edit_of)),
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
        self._read: dict[tuple[str, tuple[str, ...], tuple[str, ...], str], Stance] = {}

    @property
    def name(self) -> str:
        return self._reader.name

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        asked = (chain, new.spellings, prior.spellings if prior is not None else (), question)
        known = self._read.get(asked)
        if known is None:
            known = self._read[asked] = self._reader.read(chain, new=new, prior=prior, question=question)
        return known


def _require(what: str, which: str, noun: str, wanted: str, known: Mapping[str, object]) -> None:
    if wanted not in known:
        raise InputError(
            f"{what} {which} names {noun} {wanted!r}, which was not given.",
            f"one of the {len(known)} {noun}s the scores are computed for",
            f"give the {noun}s that were asked in the run, as its directory keeps them.",
        )


def _file(groups: dict[GroupKey, _Group], row: Row, probe_of: Mapping[str, Probe]) -> None:
    # Where each probe is put after as many further edits, the chain is one group, whatever its length by then.
    checkpoint = _WHOLE_CHAIN if row.schedule == "sequential" else row.checkpoint
    key = GroupKey(row.method, row.model, row.benchmark, row.schedule, checkpoint, row.chain_tokens)
    group = groups.get(key)
    if group is None:
        group = groups[key] = _Group(key)
    step = group.steps.get(row.step)
    if step is None:
        step = group.steps[row.step] = _Step(row.order)
    group.longest = max(group.longest, row.checkpoint)
    step.is_unrestored |= row.is_restored_exactly is False
    if row.failure is not None:
        step.failure = row.failure.stage
        # In a chain, an edit that could not be put in force is no edit that should have been probed then.
        if row.order is None or row.age is not None:
            group.failed[row.order][row.edit_id] = row.failure.stage
        return
    if not step.is_finished:
        step.is_finished = True
        step.apply_s, step.generate_s = row.timings.apply_s, row.timings.generate_s
        step.num_applied, step.peak_bytes, step.stored_bytes = row.num_applied, row.peak_bytes, row.stored_bytes
    if row.probe_id is not None:
        step.probe_ids.append(row.probe_id)
        group.put[row.order][probe_of[row.probe_id].id] = _Put(row.raw, row.trace, row.tf, row.checkpoint, row.age)


def _with_its_length(group: _Group) -> _Group:
    if group.key.checkpoint == _WHOLE_CHAIN:
        group.key = replace(group.key, checkpoint=group.longest)
    return group


def _expected(group: _Group, edit_of: Mapping[str, Edit], probe_of: Mapping[str, Probe]) -> dict[int | None, list[str]]:
    """For each order the edits whose probes belong in a group, as the edits are given."""
    if group.key.schedule == "single":
        return {None: list(edit_of)}
    found = {}
    for order in sorted({*group.put, *group.failed}, key=lambda order: -1 if order is None else order):
        known = {probe_of[probe_id].edit_id for probe_id in group.put[order]} | set(group.failed[order])
        found[order] = [edit_id for edit_id in edit_of if edit_id in known]
    return found


def _edits_put(group: _Group, probe_of: Mapping[str, Probe]) -> set[str]:
    return {probe_of[probe_id].edit_id for put in group.put.values() for probe_id in put}


def _num_failed(group: _Group) -> int:
    return sum(step.failure is not None for step in group.steps.values())


def _strata(beliefs: Iterable[Belief], edit_of: Mapping[str, Edit]) -> dict[str, dict[str, Stratum]]:
    found: dict[str, dict[str, Stratum]] = defaultdict(dict)
    for belief in beliefs:
        _require("belief", f"of model {belief.model!r}", "edit", belief.edit_id, edit_of)
        found[belief.model][belief.edit_id] = stratum(belief, edit_of[belief.edit_id])
    return dict(found)


def _judge_edit(
    group: _Group,
    order: int | None,
    edit: Edit,
    probes: Mapping[str, Probe],
    references: _References,
    reader: StanceReader,
    in_force: ForceOrder,
) -> None:
    """Adds what the probes of one edit say, in one order of edits, to the group's columns."""
    edit_id = edit.id  # hashing a record takes longer than all that is looked up by it
    put, failed = group.put[order], group.failed[order]
    exact = next((probe_id for probe_id, probe in probes.items() if probe.kind == "reliability"), None)
    exact_before = references.find(group.key, exact) if exact is not None else None
    prior = prior_of(edit, exact_before.trace if exact_before is not None else None)
    grounded: dict[str, list[Measure]] = {"exact": [], "beyond": []}
    missing = f"step failed: {failed[edit_id]}" if edit_id in failed else NO_ROW
    for probe_id, probe in probes.items():
        before, after = references.find(group.key, probe_id), put.get(probe_id)
        why = missing
        if after is not None and in_force.is_decided_by_another(probe, order, after.checkpoint):
            why, after = DECIDED_BY_ANOTHER, None
        if probe.is_local:
            side = probe.kind.removesuffix("_locality")
            kept: Measure = Unscored(why)
            same: Measure = Unscored(why)
            if after is not None:
                same, kept = independence(edit, probe, before, after), kept_correct(probe, before, after)
            for level in _local_levels(probe):
                _add(group, order, after, (f"independence_{side}", level), edit_id, same)
                _add(group, order, after, (f"kept_correct_{side}", level), edit_id, kept)
            continue
        judgement = Judgement.unscored(why)
        if after is not None:
            judgement = judge_probe(edit, probe, before, after, reader, prior)
        measures = _measures(judgement, is_hop=probe.kind == "portability")
        for level in _in_scope_levels(probe):
            for metric, measure in measures.items():
                _add(group, order, after, (metric, level), edit_id, measure)
        grounded["exact" if probe.kind == "reliability" else "beyond"].append(judgement.grounded)
        if not isinstance(judgement.label, Unscored):
            group.labelled[judgement.label].append((order, probe_id))
    group.columns["shallow", "all"].add(edit_id, _shallow(grounded["exact"], grounded["beyond"]))


def _add(
    group: _Group, order: int | None, after: _Put | None, label: tuple[str, str], edit_id: str, measure: Measure
) -> None:
    """Add a measure to its column and, of a headline figure in a chain, to those of its age and its order."""
    group.columns[label].add(edit_id, measure)
    if after is not None and after.age is not None and label in HEADLINES:
        group.parts[age_stratum(after.age)][label].add(edit_id, measure)
        group.parts[f"order:{order}"][label].add(edit_id, measure)


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


def _part_scores(group: _Group, edit_ids: Sequence[str], settings: ProtocolSettings) -> list[Score]:
    """The headline figures of a chain by age of edit and by order."""
    names = [age_stratum(first) for first, _ in AGES]
    names += sorted((name for name in group.parts if name not in names), key=lambda name: int(name.partition(":")[2]))
    scores = []
    for name in names:
        for label, column in group.parts.get(name, {}).items():
            totals = _totals(column, edit_ids)
            (interval,) = intervals(
                np.array(totals.sums)[:, None],
                np.array(totals.counts)[:, None],
                num_resamples=settings.bootstrap_resamples,
                seed=settings.bootstrap_seed,
                confidence=settings.confidence,
            )
            n, reasons = sum(column.counts.values()), Counter[str]()
            for of_edit in column.unscored.values():
                reasons.update(of_edit)
            value = sum(totals.sums) / n if n else None
            scores.append(_score(group.key, label, name, value, interval, n, reasons))
    return scores


def _costs(group: _Group, references: _References, settings: ProtocolSettings) -> list[Score]:
    """What applying and asking cost, one value per step; in a chain, seconds for each edit."""
    steps = [step for _, step in sorted(group.steps.items())]
    scores = []
    for metric, source, percentile in (
        ("apply_s_p50", "apply_s", 50.0),
        ("apply_s_p95", "apply_s", 95.0),
        ("peak_bytes", "peak_bytes", None),
        ("stored_bytes", "stored_bytes", None),
        ("query_overhead_s", "query_overhead_s", None),
    ):
        of_probing = source in ("stored_bytes", "query_overhead_s")
        measures = [
            _step_cost(group.key, step, source, references)
            for step in steps
            if not of_probing or step.order is None or step.probe_ids
        ]
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


def _step_cost(key: GroupKey, step: _Step, source: str, references: _References) -> Measure:
    if not step.is_finished:
        return Unscored(f"step failed: {step.failure}")
    if source == "query_overhead_s":
        return _query_overhead(key, step, references)
    number = {"apply_s": step.apply_s, "peak_bytes": step.peak_bytes, "stored_bytes": step.stored_bytes}[source]
    if number is None:
        return Unscored(_NOT_RECORDED)
    return float(number) / (step.num_applied or 1) if source == "apply_s" else float(number)


def _query_overhead(key: GroupKey, step: _Step, references: _References) -> Measure:
    before_rows = [references.find(key, probe_id) for probe_id in step.probe_ids]
    before_s = [references.seconds_per_probe(row) for row in before_rows if row is not None]
    known = [seconds for seconds in before_s if seconds is not None]
    if step.generate_s is None or not step.probe_ids or len(known) < len(step.probe_ids):
        return Unscored("generation was not timed both before and after the edit")
    return step.generate_s / len(step.probe_ids) - sum(known) / len(known)


def _fit_costs(key: GroupKey, fit_s: float | None) -> list[Score]:
    """What a method's training took, and its share for each edit in force."""
    if fit_s is None:
        return []
    nothing = Interval(None, None)
    return [
        _score(key, (metric, "all"), "all", value, nothing, 1, Counter())
        for metric, value in (("fit_s", fit_s), ("fit_s_per_edit", fit_s / max(key.checkpoint, 1)))
    ]


def _forgetting(
    groups: Mapping[GroupKey, _Group], edit_ids: Sequence[str], scores: Sequence[Score], settings: ProtocolSettings
) -> list[Score]:
    """What only shows between checkpoints, orders or methods."""
    value_of = {(_key_of(score), score.metric, score.level, score.stratum): score.value for score in scores}
    found: list[Score] = []
    for key, group in groups.items():
        found += _payoff(key, value_of)
        if key.schedule == "single":
            continue
        found += _order_spreads(group, value_of)
        if key.schedule == "lifelong":
            found += _growth(group, groups.get(replace(key, checkpoint=1)), edit_ids, settings)
            curve = sorted(
                other.checkpoint for other in groups if replace(other, checkpoint=0) == replace(key, checkpoint=0)
            )
            if key.checkpoint == curve[-1]:
                found += _half_points(key, curve, value_of)
    return found


_Values = Mapping[tuple[GroupKey, str, str, str], float | None]


def _key_of(score: Score) -> GroupKey:
    return GroupKey(score.method, score.model, score.benchmark, score.schedule, score.checkpoint, score.chain_tokens)


def _derived(key: GroupKey, label: tuple[str, str], measure: Measure, n: int) -> Score:
    """A number that is itself made of scores, and has no interval of its own."""
    if isinstance(measure, Unscored):
        return _score(key, label, "all", None, Interval(None, None), 0, Counter({measure.reason: 1}))
    return _score(key, label, "all", measure, Interval(None, None), n, Counter())


def _payoff(key: GroupKey, value_of: _Values) -> list[Score]:
    def value(of: GroupKey, metric: str) -> float | None:
        return value_of.get((of, metric, "all", "all"))

    fit_s, apply_s = value(key, "fit_s"), value(key, "apply_s_p50")
    other_s = value(replace(key, method="ft"), "apply_s_p50")
    if fit_s is None:
        return []
    measure: Measure = Unscored("there is no time of an edit with ft to compare with")
    if apply_s is not None and other_s is not None:
        measure = edits_to_pay_off(fit_s, apply_s, other_s)
    return [_derived(key, ("edits_to_pay_off", "all"), measure, 1)]


def _order_spreads(group: _Group, value_of: _Values) -> list[Score]:
    orders = sorted(name for name in group.parts if name.startswith("order:"))
    return [
        _derived(
            group.key,
            (f"{metric}_order_sd", level),
            spread([value_of.get((group.key, metric, level, order)) for order in orders]),
            len(orders),
        )
        for metric, level in (*_FOLLOWED, *(label for label in _SIDE_EFFECTS if label in HEADLINES))
        if orders
    ]


def _half_points(key: GroupKey, curve: Sequence[int], value_of: _Values) -> list[Score]:
    return [
        _derived(
            key,
            (f"{metric}_half_at", level),
            half_point(
                {point: value_of.get((replace(key, checkpoint=point), metric, level, "all")) for point in curve}
            ),
            len(curve),
        )
        for metric, level in _FOLLOWED
    ]


def _growth(group: _Group, first: _Group | None, edit_ids: Sequence[str], settings: ProtocolSettings) -> list[Score]:
    """How much less is left as it was than after a single edit."""
    found = []
    for metric, level in _SIDE_EFFECTS:
        label = (f"side_effect_growth_{metric.removeprefix('independence_')}", level)
        if first is None or (metric, level) not in first.columns or (metric, level) not in group.columns:
            found.append(_derived(group.key, label, Unscored("there is no score at checkpoint 1"), 0))
            continue
        gap = independent_difference(
            _totals(first.columns[metric, level], edit_ids),
            _totals(group.columns[metric, level], edit_ids),
            num_resamples=settings.bootstrap_resamples,
            seed=settings.bootstrap_seed,
            confidence=settings.confidence,
        )
        reasons = Counter({"no edit was scored at both checkpoints": 1}) if gap.value is None else Counter[str]()
        interval = Interval(gap.low, gap.high)
        found.append(_score(group.key, label, "all", gap.value, interval, gap.num_edits, reasons))
    return found


def _examples(group: _Group, probe_of: Mapping[str, Probe]) -> list[Example]:
    """For each label of a group, how often it was given and one output with it: an exact probe's, if any."""
    examples = []
    for label in LABELS:
        labelled = group.labelled.get(label, [])
        if not labelled:
            continue
        order, chosen = next((one for one in labelled if probe_of[one[1]].kind == "reliability"), labelled[0])
        probe, raw = probe_of[chosen], group.put[order][chosen].raw
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
                count=len(labelled),
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
    probe_of: Mapping[str, Probe],
    edit_of: Mapping[str, Edit],
) -> list[str]:
    """What a reader of the numbers should know, in sentences."""
    notes = []
    for row in failed_references:
        stage = row.failure.stage if row.failure is not None else "unknown"
        notes.append(f"{row.model}: asking the unedited model failed at {stage} in step {row.step}.")
    probed: dict[str, set[str]] = defaultdict(set)
    groups = list(groups)
    for budget in dict.fromkeys(group.key.chain_tokens for group in groups):
        if budget is not None:
            how = f"closed at the end of a sentence after {budget} token(s)" if budget else "left empty"
            notes.append(f"The chains of the probes were {how}; beliefs were sampled with the model's own chains.")
    for group in groups:
        where = f"{group.key.method} on {group.key.model}"
        put = _edits_put(group, probe_of)
        probed[group.key.model] |= put
        if group.key.schedule == "lifelong":
            where += f" at checkpoint {group.key.checkpoint}"
        stages = Counter(
            stage
            for order, of_order in group.failed.items()
            for edit_id, stage in of_order.items()
            if not any(probe_of[probe_id].edit_id == edit_id for probe_id in group.put[order])
        )
        for stage, count in sorted(stages.items()):
            notes.append(f"{where}: {count} step(s) failed at {stage}; their probes are unscored.")
        num_unrestored = sum(step.is_unrestored for step in group.steps.values())
        if num_unrestored:
            notes.append(f"{where}: after {num_unrestored} step(s) the model was not restored bit for bit.")
        reasons = {why for column in group.columns.values() for of in column.unscored.values() for why in of}
        if NO_REFERENCE in reasons:
            notes.append(f"{where}: some probes have no output of the unedited model.")
        if NO_ROW in reasons:
            notes.append(f"{where}: some probes were not put to the edited model; the run is incomplete.")
    for model, edits in probed.items():
        believed = stratum_of.get(model)
        without = (edits if any(group.key.schedule != "single" for group in groups) else set(edit_of)) - set(
            believed or ()
        )
        if believed is None:
            notes.append(_NO_BELIEFS if len(probed) == 1 else f"{model}: {_NO_BELIEFS}")
        elif without:
            notes.append(f"{model}: {len(without)} edit(s) have no sampled belief and no stratum.")
    return notes
