"""From rows to a summary: every score, its interval, and what could not be scored.

Nothing here runs a model. The same edits, probes, rows, beliefs, reader and settings give the same summary.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import reground
from reground.edits.collection import collection_paused
from reground.edits.records import Answer, Edit, Probe, Row
from reground.errors import InputError
from reground.evaluation.bootstrap import (
    ClusterTotals,
    Interval,
    intervals,
    intervals_of_percentiles,
    paired_differences,
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
from reground.evaluation.judging import (
    HOP_METRICS,
    IN_SCOPE_METRICS,
    LOCALITY_METRICS,
    Asked,
    BriefTrace,
    Said,
    Task,
    Verdict,
    judge_all,
)
from reground.evaluation.labels import LABELS, NO_REFERENCE, NO_ROW, Label, Measure, Unscored, prior_of
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.results import Comparison, Example, Score, Summary
from reground.evaluation.stance import StanceReader
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

_MEASURES = (*IN_SCOPE_METRICS, *HOP_METRICS)
_GROUNDED = _MEASURES.index("grounded")
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


_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GroupKey:
    """What one set of scores is about."""

    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    chain_tokens: int | None = None


#: The fields of a ``GroupKey``: of a million rows each has to find its group.
_GroupFields = tuple[str, str, str, str, int, int | None]
#: The number of what ``shallow`` counts under.
_SHALLOW = 0
#: Columns that are needed after the scores of their group.
_COMPARED = tuple(dict.fromkeys((*HEADLINES, *_SIDE_EFFECTS)))


class _Put(NamedTuple):
    """What counts of a row with a probe."""

    raw: str | None
    said: Said
    checkpoint: int
    age: int | None


@dataclass(slots=True)
class _Batch:
    """The probes that the unedited model was asked together."""

    num_probes: int = 0


@dataclass(frozen=True, slots=True)
class _Before:
    """What counts of a row of the unedited model."""

    said: Said
    generate_s: float | None
    batch: _Batch

    @property
    def seconds(self) -> float | None:
        """The batch's seconds divided among the probes of the batch."""
        return None if self.generate_s is None else self.generate_s / self.batch.num_probes


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


#: The labels a probe counts under, as (metric, level) and the place of the metric among the measures of a finding.
_Labels = tuple[tuple[tuple[str, str], int], ...]


class _Findings:
    """Measures that were found together, each combination kept once and known by its number.

    Axes: F findings, K places of measures.
    """

    def __init__(self) -> None:
        self._number_of: dict[tuple[float | str, ...], int] = {}
        self._code_of: dict[str, int] = {}
        self._arrays: tuple[_Floats, _Ints] | None = None

    def number(self, measures: tuple[float | str, ...]) -> int:
        """The number of some measures: numbers, or why there is none."""
        return self._number_of.setdefault(measures, len(self._number_of))

    @property
    def reasons(self) -> list[str]:
        """Every reason for which something is unscored; the first has code 1."""
        self.arrays()
        return list(self._code_of)

    def arrays(self) -> tuple[_Floats, _Ints]:
        """``values_FK``, 0 where there is none, and ``codes_FK`` of the reasons, 0 where there is a value."""
        if self._arrays is None or len(self._arrays[0]) < len(self._number_of):
            shape = len(self._number_of), len(_MEASURES)
            values_FK, codes_FK = np.zeros(shape), np.zeros(shape, dtype=np.int64)
            for number, found in enumerate(self._number_of):
                for place, one in enumerate(found):
                    if isinstance(one, str):
                        codes_FK[number, place] = self._code_of.setdefault(one, len(self._code_of) + 1)
                    else:
                        values_FK[number, place] = one
            self._arrays = values_FK, codes_FK
        return self._arrays


@dataclass
class _Sequence:
    """What was found in one order of edits, edit by edit and probe by probe: four numbers for each.

    Attributes:
        edits: Place of the edit among all.
        labels: Number of what it counts under.
        findings: Number of the finding.
        ages: Edits applied since; -1 if the probe was not put, or not in a chain.
        labelled: By label, the probes that carry it.
    """

    edits: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    findings: array[int] = field(default_factory=lambda: array("q"))
    ages: array[int] = field(default_factory=lambda: array("q"))
    labelled: dict[Label, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, edit: int, labels: int, finding: int, age: int | None = None) -> None:
        self.edits.append(edit)
        self.labels.append(labels)
        self.findings.append(finding)
        self.ages.append(-1 if age is None else age)


@dataclass(frozen=True)
class _Column:
    """One metric at one level within a group: per edit, the scored values; and why others are unscored.

    Axes: E edits, U unscored measures, by the edit that was first unscored and then as they came.
    """

    sums_E: _Floats
    counts_E: _Floats
    unscored_edits_U: _Ints
    unscored_codes_U: _Ints
    absent: str | None = None

    def reasons(self, names: Sequence[str], is_member_E: npt.NDArray[np.bool_] | None = None) -> Counter[str]:
        """How often each reason left something of the member edits unscored, in the order they came."""
        codes_U = self.unscored_codes_U
        if is_member_E is not None:
            codes_U = codes_U[is_member_E[self.unscored_edits_U]]
        if not len(codes_U):
            return Counter()
        codes, firsts, counts = np.unique(codes_U, return_index=True, return_counts=True)
        return Counter({names[codes[place] - 1]: int(counts[place]) for place in np.argsort(firsts)})

    def totals(self, edit_ids: tuple[str, ...]) -> ClusterTotals:
        return ClusterTotals(edit_ids, tuple(self.sums_E.tolist()), tuple(self.counts_E.tolist()))


@dataclass
class _Group:
    """The rows of one group, and what is computed from them.

    Attributes:
        put: By order of edits (None for edits that stand alone) and probe, what came back.
        failed: By order and edit, the stage at which it failed.
        steps: By number.
        longest: The most edits that were applied.
        found: By order.
        columns: By metric and level.
        orders: The orders that have scores of their own, as strata name them.
        reasons: Every reason for which something is unscored.
    """

    key: GroupKey
    put: dict[int | None, dict[str, _Put]] = field(default_factory=lambda: defaultdict(dict))
    failed: dict[int | None, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    steps: dict[int, _Step] = field(default_factory=dict)
    longest: int = 0
    found: dict[int | None, _Sequence] = field(default_factory=dict)
    columns: dict[tuple[str, str], _Column] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)


@collection_paused()
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
    workers: int = 1,
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
        workers: Processes that judge outputs, see ``judging.judge_all``; the summary is the same for any number.

    Raises:
        InputError: A row or belief names an edit or a probe that is not among those given.
    """
    settings = settings or ProtocolSettings()
    reader = reader or _default_reader()
    edit_of = {edit.id: edit for edit in edits}
    probe_of = {probe.id: probe for probe in probes}
    probes_of: dict[str, dict[str, Probe]] = defaultdict(dict)
    for probe_id, probe in probe_of.items():
        _require("probe", probe_id, "edit", probe.edit_id, edit_of)
        probes_of[probe.edit_id][probe_id] = probe
    in_force = ForceOrder(edit_of, list(probe_of.values()), orders)
    references = _References()
    failed_references: list[Row] = []
    filed: dict[_GroupFields, _Group] = {}
    id_of = {probe_id: probe_id for probe_id in probe_of}
    for row in rows:
        run = run or row.run
        _require("row", f"of step {row.step}", "edit", row.edit_id, edit_of)
        if row.probe_id is not None:
            _require("row", f"of step {row.step}", "probe", row.probe_id, probe_of)
        if row.phase == "before" and row.failure is None:
            references.add(row)
        elif row.phase == "after":
            _file(filed, row, id_of)
        else:
            failed_references.append(row)
    groups = {group.key: group for group in map(_with_its_length, filed.values())}
    stratum_of = _strata(beliefs, edit_of)
    scores: list[Score] = []
    examples: list[Example] = []
    judge = _Judge(probe_of, references, in_force)
    judged = [(group, _expected(group, edit_of, probe_of)) for group in groups.values()]
    tasks = (
        judge.task(place, edit_id, edit, probes_of[edit_id], judged)
        for place, (edit_id, edit) in enumerate(edit_of.items())
    )
    for places, verdicts in judge_all(tasks, reader, workers):
        judge.keep(places, verdicts)
    edit_ids = tuple(edit_of)
    for group, _ in judged:
        sequence = _Whole(group, judge)
        group.columns = _with_absent(sequence.columns(len(edit_ids)), len(edit_ids))
        group.reasons = sequence.reasons
        sorts = _sorts(edit_of, stratum_of.get(group.key.model, {}), tags or {})
        scores += _scores(group, sorts, judge.findings.reasons, settings)
        scores += _part_scores(group, sequence, edit_ids, settings)
        scores += _costs(group, references, settings)
        scores += _fit_costs(group.key, (fit_seconds or {}).get(group.key.method))
        examples += _examples(group, probe_of)
        group.columns = {label: group.columns[label] for label in _COMPARED if label in group.columns}
        group.found.clear()
    scores += _forgetting(groups, edit_ids, scores, settings)
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
        comparisons=tuple(_comparisons(groups, settings)),
        examples=tuple(examples),
    )


def _default_reader() -> StanceReader:
    from reground.evaluation.stance import RuleStanceReader  # its tables are compiled only if they are used

    return RuleStanceReader()


class _References:
    """Rows of the unedited model, found by probe: the method's own, or else any method's for that model."""

    def __init__(self) -> None:
        self._own: dict[_Setting, dict[str, _Before]] = defaultdict(dict)
        self._any: dict[_Setting, dict[str, _Before]] = defaultdict(dict)
        self._batches: dict[tuple[_Setting, int], _Batch] = defaultdict(_Batch)

    def add(self, row: Row) -> None:
        assert row.probe_id is not None, "a row of the unedited model always has a probe"
        own = row.model, row.benchmark, row.chain_tokens, row.method
        batch = self._batches[own, row.step]
        batch.num_probes += 1
        before = _Before(_said(row), row.timings.generate_s, batch)
        self._own[own][row.probe_id] = before
        self._any[*own[:3], None].setdefault(row.probe_id, before)

    def of(self, key: GroupKey) -> _ReferencesOf:
        """Those a group is compared with."""
        asked = key.model, key.benchmark, key.chain_tokens
        return _ReferencesOf(self._own.get((*asked, key.method), {}), self._any.get((*asked, None), {}))


_Setting = tuple[str, str, int | None, str | None]


@dataclass(frozen=True)
class _ReferencesOf:
    """The rows of the unedited model for one group, by probe."""

    own: Mapping[str, _Before]
    any: Mapping[str, _Before]

    def find(self, probe_id: str) -> _Before | None:
        return self.own.get(probe_id) or self.any.get(probe_id)


def _said(row: Row) -> Said:
    trace = row.trace
    return Said(None if trace is None else BriefTrace(trace.outcome, trace.chain, trace.answer), row.tf)


def _require(what: str, which: str, noun: str, wanted: str, known: Mapping[str, object]) -> None:
    if wanted not in known:
        raise InputError(
            f"{what} {which} names {noun} {wanted!r}, which was not given.",
            f"one of the {len(known)} {noun}s the scores are computed for",
            f"give the {noun}s that were asked in the run, as its directory keeps them.",
        )


def _file(groups: dict[_GroupFields, _Group], row: Row, id_of: Mapping[str, str]) -> None:
    # Where each probe is put after as many further edits, the chain is one group, whatever its length by then.
    checkpoint = _WHOLE_CHAIN if row.schedule == "sequential" else row.checkpoint
    key = row.method, row.model, row.benchmark, row.schedule, checkpoint, row.chain_tokens
    group = groups.get(key)
    if group is None:
        group = groups[key] = _Group(GroupKey(*key))
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
        probe_id = id_of[row.probe_id]  # one text for all rows
        step.probe_ids.append(probe_id)
        group.put[row.order][probe_id] = _Put(row.raw, _said(row), row.checkpoint, row.age)


def _with_its_length(group: _Group) -> _Group:
    if group.key.checkpoint == _WHOLE_CHAIN:
        group.key = replace(group.key, checkpoint=group.longest)
    return group


def _expected(
    group: _Group, edit_of: Mapping[str, Edit], probe_of: Mapping[str, Probe]
) -> dict[int | None, Collection[str]]:
    """For each order the edits whose probes belong in a group."""
    if group.key.schedule == "single":
        return {None: edit_of}
    found: dict[int | None, Collection[str]] = {}
    for order in sorted({*group.put, *group.failed}, key=_place_of_order):
        found[order] = {probe_of[probe_id].edit_id for probe_id in group.put[order]} | set(group.failed[order])
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


#: What came back from one probe of an edit in one group: its id; the number among the outputs to be judged, or why
#: there is nothing to judge; the age.
_Place = tuple[str, int | str, int | None]


@dataclass(frozen=True, slots=True)
class _Places:
    """What came back from the probes of an edit in one order of a group."""

    group: _Group
    order: int | None
    edit: int
    probes: list[_Place]


class _Judge:
    """Finds what the probes of an edit say, group by group."""

    def __init__(self, probe_of: Mapping[str, Probe], references: _References, in_force: ForceOrder) -> None:
        self.findings = _Findings()
        self._probe_of = probe_of
        self._references = references
        self._in_force = in_force
        self._number_of: dict[_Labels, int] = {((("shallow", "all"), 0),): _SHALLOW}
        self._labels_of = {
            probe_id: self._number_of.setdefault(_labels(probe), len(self._number_of))
            for probe_id, probe in probe_of.items()
        }

    @property
    def labels(self) -> list[_Labels]:
        """What probes count under, by number."""
        return list(self._number_of)

    def task(
        self,
        place: int,
        edit_id: str,
        edit: Edit,
        probes: Mapping[str, Probe],
        groups: Sequence[tuple[_Group, Mapping[int | None, Collection[str]]]],
    ) -> Task[list[_Places]]:
        """What is to be judged of one edit for each order of each group that is to have it.

        Args:
            place: Place of the edit among all.
            edit_id: Its id.
            edit: The edit.
            probes: Its probes by id.
            groups: Each with the edits it is to have in each order.
        """
        exact = next((probe_id for probe_id, probe in probes.items() if probe.kind == "reliability"), None)
        number_of: dict[Hashable, int] = {}
        asked: list[Asked] = []
        places = []
        for group, expected in groups:
            references = self._references.of(group.key)
            before = references.find(exact) if exact is not None else None
            prior = prior_of(edit, before.said.trace if before is not None else None)
            for order, edit_ids in expected.items():
                if edit_id in edit_ids:
                    came_back = self._came_back(group, order, edit_id, probes, references, prior, number_of, asked)
                    places.append(_Places(group, order, place, came_back))
        return Task(places, edit, asked)

    def _came_back(
        self,
        group: _Group,
        order: int | None,
        edit_id: str,
        probes: Mapping[str, Probe],
        references: _ReferencesOf,
        prior: Answer | None,
        number_of: dict[Hashable, int],
        asked: list[Asked],
    ) -> list[_Place]:
        put, failed = group.put[order], group.failed[order]
        told = prior.spellings if prior is not None else None
        missing = f"step failed: {failed[edit_id]}" if edit_id in failed else NO_ROW
        places: list[_Place] = []
        for probe_id, probe in probes.items():
            after = put.get(probe_id)
            if after is None:
                places.append((probe_id, missing, None))
            elif self._in_force.is_decided_by_another(probe, order, after.checkpoint):
                places.append((probe_id, DECIDED_BY_ANOTHER, None))
            else:
                before = references.find(probe_id)
                number = number_of.setdefault((probe_id, id(before), told, after.said), len(asked))
                if number == len(asked):
                    asked.append(Asked(probe, before.said if before is not None else None, after.said, prior))
                places.append((probe_id, number, after.age))
        return places

    def keep(self, places: Iterable[_Places], verdicts: Sequence[Verdict]) -> None:
        """Adds the verdicts on one edit to what was found in each order of each group."""
        finding_of: dict[int | str, int] = {}
        for one in places:
            found = one.group.found.setdefault(one.order, _Sequence())
            grounded: dict[str, list[Measure]] = {"exact": [], "beyond": []}
            for probe_id, number, age in one.probes:
                if isinstance(number, str):
                    measures: tuple[float | str, ...] = (number,) * len(_MEASURES)
                    label = None
                else:
                    measures, label = verdicts[number].measures, verdicts[number].label
                finding = finding_of.get(number)
                if finding is None:
                    finding = finding_of[number] = self.findings.number(measures)
                found.add(one.edit, self._labels_of[probe_id], finding, age)
                probe = self._probe_of[probe_id]
                if not probe.is_local:
                    measure = measures[_GROUNDED]
                    grounded["exact" if probe.kind == "reliability" else "beyond"].append(
                        Unscored(measure) if isinstance(measure, str) else measure
                    )
                    if label is not None:
                        found.labelled[label].append(probe_id)
            shallow = _shallow(grounded["exact"], grounded["beyond"])
            told = shallow.reason if isinstance(shallow, Unscored) else shallow
            found.add(one.edit, _SHALLOW, self.findings.number((told,)))


def _labels(probe: Probe) -> _Labels:
    """What a probe counts under."""
    if probe.is_local:
        side = probe.kind.removesuffix("_locality")
        return tuple(
            ((f"{metric}_{side}", level), place)
            for level in _local_levels(probe)
            for place, metric in enumerate(LOCALITY_METRICS)
        )
    metrics = _MEASURES if probe.kind == "portability" else IN_SCOPE_METRICS
    return tuple(((metric, level), place) for level in _in_scope_levels(probe) for place, metric in enumerate(metrics))


class _Whole:
    """What was found in all orders of a group, one after the other.

    Axes: N findings.
    """

    def __init__(self, group: _Group, judge: _Judge) -> None:
        orders = sorted(group.found, key=_place_of_order)
        parts = [group.found[order] for order in orders]
        self._edits_N, self._labels_N, self._findings_N, self.ages_N = (
            np.array([number for part in parts for number in getattr(part, name)], dtype=np.int64)
            for name in ("edits", "labels", "findings", "ages")
        )
        self.orders = orders
        self.orders_N = np.repeat(np.arange(len(parts)), [len(part.edits) for part in parts])
        self._labels = judge.labels
        self._values_FK, self._codes_FK = judge.findings.arrays()
        self._names = judge.findings.reasons

    @property
    def reasons(self) -> set[str]:
        """Every reason for which something is unscored."""
        codes = np.unique(self._codes_FK[np.unique(self._findings_N)])
        return {self._names[code - 1] for code in codes if code}

    @property
    def names(self) -> list[str]:
        return self._names

    def columns(
        self,
        num_edits: int,
        counted_N: npt.NDArray[np.bool_] | None = None,
        wanted: Collection[tuple[str, str]] | None = None,
    ) -> dict[tuple[str, str], _Column]:
        """The columns, in the order in which something was first found for them.

        Args:
            num_edits: E.
            counted_N: What of the findings counts; all by default.
            wanted: Labels of the columns; all by default.
        """
        kept_N = np.arange(len(self._labels_N)) if counted_N is None else np.flatnonzero(counted_N)
        numbers, firsts = np.unique(self._labels_N[kept_N], return_index=True)
        places: dict[tuple[str, str], int] = {}
        sources: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number in numbers[np.argsort(firsts)].tolist():
            for label, place in self._labels[number]:
                if wanted is None or label in wanted:
                    places[label] = place
                    sources[label].append(number)
        at: dict[tuple[int, ...], tuple[_Ints, _Ints]] = {}
        found = {}
        for label, place in places.items():
            source = tuple(sources[label])
            if source not in at:
                inside = kept_N[np.isin(self._labels_N[kept_N], source)]
                at[source] = self._edits_N[inside], self._findings_N[inside]
            edits, findings = at[source]
            found[label] = _column(edits, self._values_FK[findings, place], self._codes_FK[findings, place], num_edits)
        return found


def _column(edits: _Ints, values: _Floats, codes: _Ints, num_edits: int) -> _Column:
    """One column from what was found for it, added up edit by edit in the order it came."""
    is_unscored = codes > 0
    unscored_edits, unscored_codes = edits[is_unscored], codes[is_unscored]
    if len(unscored_edits):
        _, firsts, which = np.unique(unscored_edits, return_index=True, return_inverse=True)
        by_edit = np.argsort(firsts[which], kind="stable")
        unscored_edits, unscored_codes = unscored_edits[by_edit], unscored_codes[by_edit]
    return _Column(
        np.bincount(edits, weights=values, minlength=num_edits).astype(np.float64),
        np.bincount(edits[~is_unscored], minlength=num_edits).astype(np.float64),
        unscored_edits,
        unscored_codes,
    )


def _place_of_order(order: int | None) -> int:
    return -1 if order is None else order


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


def _with_absent(columns: dict[tuple[str, str], _Column], num_edits: int) -> dict[tuple[str, str], _Column]:
    """The columns and one for every promised metric, so that what a benchmark lacks is said and not left out."""
    zeros_E, nothing = np.zeros(num_edits), np.zeros(0, dtype=np.int64)

    def declare(label: tuple[str, str], what: str) -> None:
        if label not in columns:
            columns[label] = _Column(zeros_E, zeros_E, nothing, nothing, f"the benchmark has no {what}")

    for level, what in (
        ("exact", "exact"),
        ("generality", "generality"),
        ("portability", "portability"),
        ("multi_hop", "multi-hop portability"),
        ("all", "in-scope"),
    ):
        hop_metrics = HOP_METRICS if level in ("portability", "multi_hop") else ()
        for metric in (*IN_SCOPE_METRICS, *hop_metrics):
            declare((metric, level), f"{what} probes")
    for metric in LOCALITY_METRICS:
        for side in ("text", "image"):
            for level in ("near", "far", "all"):
                what = f"{side} locality probes" if level == "all" else f"{level} {side} locality probes"
                declare((f"{metric}_{side}", level), what)
    return columns


def _sorts(
    edit_ids: Iterable[str], stratum_of: Mapping[str, Stratum], tags: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Under which strata and tags the scores of each edit count."""
    return {edit_id: (*strata_of(stratum_of.get(edit_id)), *tags.get(edit_id, ())) for edit_id in edit_ids}


def _scores(
    group: _Group, sorts: Mapping[str, Sequence[str]], reasons_named: Sequence[str], settings: ProtocolSettings
) -> list[Score]:
    """The scores of every column of a group, for all edits and for each stratum and tag that has any."""
    edit_ids = list(sorts)
    labels = list(group.columns)
    sums_EM = np.stack([column.sums_E for column in group.columns.values()], axis=1)
    counts_EM = np.stack([column.counts_E for column in group.columns.values()], axis=1)
    scores = []
    tags = sorted({name for names in sorts.values() for name in names} - set(STRATA))
    for name in (*STRATA, *tags):
        member = [i for i, edit_id in enumerate(edit_ids) if name in sorts[edit_id]]
        if not member:
            continue
        is_member_E = np.zeros(len(edit_ids), dtype=np.bool_)
        is_member_E[member] = True
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
            reasons = column.reasons(reasons_named, is_member_E)
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


def _part_scores(group: _Group, sequence: _Whole, edit_ids: Sequence[str], settings: ProtocolSettings) -> list[Score]:
    """The headline figures of a chain by age of edit and by order."""
    is_aged_N = sequence.ages_N >= 0
    parts = [
        (age_stratum(first), (sequence.ages_N >= first) & (sequence.ages_N <= (np.inf if last is None else last)))
        for first, last in AGES
    ]
    parts += [
        (f"order:{order}", is_aged_N & (sequence.orders_N == place)) for place, order in enumerate(sequence.orders)
    ]
    scores = []
    for name, counted_N in parts:
        columns = sequence.columns(len(edit_ids), counted_N, HEADLINES) if counted_N.any() else {}
        if columns and name.startswith("order:"):
            group.orders.append(name)
        for label, column in columns.items():
            (interval,) = intervals(
                column.sums_E[:, None],
                column.counts_E[:, None],
                num_resamples=settings.bootstrap_resamples,
                seed=settings.bootstrap_seed,
                confidence=settings.confidence,
            )
            n = int(column.counts_E.sum())
            value = sum(column.sums_E.tolist()) / n if n else None
            scores.append(_score(group.key, label, name, value, interval, n, column.reasons(sequence.names)))
    return scores


def _costs(group: _Group, references: _References, settings: ProtocolSettings) -> list[Score]:
    """What applying and asking cost, one value per step; in a chain, seconds for each edit."""
    steps = [step for _, step in sorted(group.steps.items())]
    asked = references.of(group.key)
    scores = []
    resampling: dict[str, Any] = {
        "num_resamples": settings.bootstrap_resamples,
        "seed": settings.bootstrap_seed,
        "confidence": settings.confidence,
    }
    for source, percentiles in (
        ("apply_s", (50.0, 95.0)),
        ("peak_bytes", ()),
        ("stored_bytes", ()),
        ("query_overhead_s", ()),
    ):
        of_probing = source in ("stored_bytes", "query_overhead_s")
        measures = [
            _step_cost(step, source, asked) for step in steps if not of_probing or step.order is None or step.probe_ids
        ]
        values = [measure for measure in measures if not isinstance(measure, Unscored)]
        reasons = Counter(measure.reason for measure in measures if isinstance(measure, Unscored))
        names = [f"{source}_p{percentile:.0f}" for percentile in percentiles] or [source]
        found: list[float | None] = [None] * len(names)
        ends = [Interval(None, None)] * len(names)
        if values and percentiles:
            found = [float(value) for value in np.percentile(values, percentiles)]
            ends = intervals_of_percentiles(values, percentiles, **resampling)
        elif values:
            found = [float(np.mean(values))]
            column_E1 = np.array(values, dtype=np.float64)[:, None]
            ends = intervals(column_E1, np.ones_like(column_E1), **resampling)
        scores += [
            _score(group.key, (name, "all"), "all", value, interval, len(values), reasons)
            for name, value, interval in zip(names, found, ends, strict=True)
        ]
    return scores


def _step_cost(step: _Step, source: str, references: _ReferencesOf) -> Measure:
    if not step.is_finished:
        return Unscored(f"step failed: {step.failure}")
    if source == "query_overhead_s":
        return _query_overhead(step, references)
    number = {"apply_s": step.apply_s, "peak_bytes": step.peak_bytes, "stored_bytes": step.stored_bytes}[source]
    if number is None:
        return Unscored(_NOT_RECORDED)
    return float(number) / (step.num_applied or 1) if source == "apply_s" else float(number)


def _query_overhead(step: _Step, references: _ReferencesOf) -> Measure:
    before_rows = [references.find(probe_id) for probe_id in step.probe_ids]
    before_s = [row.seconds for row in before_rows if row is not None]
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
    groups: Mapping[GroupKey, _Group], edit_ids: tuple[str, ...], scores: Sequence[Score], settings: ProtocolSettings
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
    orders = sorted(group.orders)
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


def _growth(group: _Group, first: _Group | None, edit_ids: tuple[str, ...], settings: ProtocolSettings) -> list[Score]:
    """How much less is left as it was than after a single edit."""
    found = []
    for metric, level in _SIDE_EFFECTS:
        label = (f"side_effect_growth_{metric.removeprefix('independence_')}", level)
        if first is None or (metric, level) not in first.columns or (metric, level) not in group.columns:
            found.append(_derived(group.key, label, Unscored("there is no score at checkpoint 1"), 0))
            continue
        gap = independent_difference(
            first.columns[metric, level].totals(edit_ids),
            group.columns[metric, level].totals(edit_ids),
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
    orders = sorted(group.found, key=_place_of_order)
    for label in LABELS:
        labelled = [(order, one) for order in orders for one in group.found[order].labelled.get(label, ())]
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


def _comparisons(groups: Mapping[GroupKey, _Group], settings: ProtocolSettings) -> list[Comparison]:
    """Paired differences of every two methods of the same model, benchmark, schedule and checkpoint."""
    columns: dict[tuple[GroupKey, tuple[str, str]], int] = {}
    for key, group in groups.items():
        for label in HEADLINES:
            if label in group.columns:
                columns[key, label] = len(columns)
    pairs = [
        (a, b, label)
        for a, b in combinations(groups, 2)
        if replace(a, method=b.method) == b
        for label in HEADLINES
        if (a, label) in columns and (b, label) in columns
    ]
    if not pairs:
        return []
    gaps = paired_differences(
        np.stack([groups[key].columns[label].sums_E for key, label in columns], axis=1),
        np.stack([groups[key].columns[label].counts_E for key, label in columns], axis=1),
        [(columns[a, label], columns[b, label]) for a, b, label in pairs],
        num_resamples=settings.bootstrap_resamples,
        seed=settings.bootstrap_seed,
        confidence=settings.confidence,
    )
    return [
        Comparison(
            a=a.method,
            b=b.method,
            model=a.model,
            benchmark=a.benchmark,
            schedule=a.schedule,
            checkpoint=a.checkpoint,
            metric=metric,
            level=level,
            value=gap.value,
            low=gap.low,
            high=gap.high,
            num_edits=gap.num_edits,
            chain_tokens=a.chain_tokens,
        )
        for (a, b, (metric, level)), gap in zip(pairs, gaps, strict=True)
        if gap.num_edits
    ]


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
        if NO_REFERENCE in group.reasons:
            notes.append(f"{where}: some probes have no output of the unedited model.")
        if NO_ROW in group.reasons:
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
