"""Doing the steps of a run: asking the unedited model, editing, probing and restoring, in whatever process.

Four rules hold here. What the unedited model said is asked before any edit is applied, once. The model is restored
after every edit that stands alone and after every chain, and checked: its logits must be those from before the first
edit, bit for bit. Outputs are compared nowhere here; scores are computed from the rows. An editor is given the edit and
never sees a probe.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TypedDict

from reground.edits.images import image_key
from reground.edits.records import Edit, Energy, Failure, ForcedTarget, Phase, Probe, Row, Timings, Trace, content_id
from reground.errors import CapabilityError, ModelError, RegroundError, RunDirectoryError
from reground.evaluation.lenses.targets import forced_target
from reground.evaluation.strata import Belief
from reground.methods.base import EditCost, EditedModel, Editor
from reground.methods.chain import EditChain
from reground.methods.edited import AsksTheOriginal
from reground.methods.energy import EnergyMeter, devices_of
from reground.methods.registry import create_config, create_editor, find_artifact, method_entry
from reground.models.base import Model, Output, Query, StoresImages, TriesScores, probe_query
from reground.models.registry import load_model
from reground.runner.chain_state import ChainStates
from reground.runner.journal import iterate_rows
from reground.runner.manifest import Manifest
from reground.runner.output_cache import OutputCache, Written
from reground.runner.plan import Workload
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, Probed, Step, schedule_name
from reground.runner.together import AskedTogether

__all__ = [
    "STATE_EVERY_S",
    "Done",
    "Job",
    "Unit",
    "Worker",
    "Workplace",
    "changed",
    "loader_of",
    "require_offered",
    "require_same_model",
]

_log = logging.getLogger(__name__)

#: Seconds of work after which the state of a chain is worth writing.
STATE_EVERY_S = 60.0


@dataclass(frozen=True)
class Job:
    """What all steps of a run have in common; can be sent to another process.

    Attributes:
        folder: The run directory, which every process sees.
        manifest: What the run is about.
        workload: Edits and probes.
        versions: What each row states.
        load: Loads the model.
    """

    folder: Path
    manifest: Manifest
    workload: Workload
    versions: dict[str, str]
    load: Callable[[], Model]


@dataclass(frozen=True)
class Unit:
    """Steps that one process does in a row: a chain of edits, or steps that need not wait for one another.

    Attributes:
        run: Id of the run they belong to.
        name: For a reader.
        steps: In order; those of a chain all, finished or not.
        finished: Keys of those that are done.
        dropped: In a chain, ids of edits that could not be put in force when they were due.
    """

    run: str
    name: str
    steps: tuple[Step, ...]
    finished: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that are to be done."""
        return tuple(step for step in self.steps if step.key not in self.finished)


@dataclass(frozen=True)
class Done:
    """A finished step and what it leaves in the journal."""

    key: str
    rows: tuple[Row, ...]
    beliefs: tuple[Belief, ...] = ()


class _Sampling(TypedDict):
    """How the unedited model is asked, as ``Model.generate`` takes it."""

    max_new_tokens: int
    temperature: float
    num_samples: int
    seed: int


@dataclass(frozen=True)
class _Said:
    """What the unedited model said to one question.

    Attributes:
        raw: All of it.
        trace: As it is read.
        seconds: The question's share of the time that took, in whichever run it was asked; None if that is not known.
        joules: Its share of the energy that took, in the same way.
    """

    raw: str
    trace: Trace
    seconds: float | None = None
    joules: float | None = None


@dataclass
class _Answers:
    """What a model wrote and scored on some probes, before it becomes rows."""

    outputs: list[Output] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    tf: list[float | None] = field(default_factory=list)
    forced: list[ForcedTarget | None] = field(default_factory=list)
    generate_s: float = 0.0
    generate_j: float | None = None


class Worker:
    """Does steps of one job, one after the other.

    Args:
        job: What they belong to.
        model: The unedited model, if it is loaded already.
        state_every_s: Seconds of work after which the state of a chain is written.
        outputs: Stands in for the outputs of unedited models that all runs share.
    """

    def __init__(
        self,
        job: Job,
        model: Model | None = None,
        *,
        state_every_s: float = STATE_EVERY_S,
        outputs: OutputCache | None = None,
    ) -> None:
        self.job = job
        self._folder = job.folder
        self._manifest = job.manifest
        self._recipe = job.manifest.recipe
        self._workload = job.workload
        self._versions = job.versions
        self._state_every_s = state_every_s
        self._loaded = model
        self._has_read_journal = False
        self._said: dict[str, _Said] = {}
        self._keys: dict[str, str] = {}
        self._fingerprints: dict[str, str | Failure] = {}
        self._editors: dict[str, Editor] = {}
        self._unrestored: Step | None = None
        self._method_versions: dict[str, dict[str, str]] = {}
        self._outputs = outputs or OutputCache(job.manifest.model, job.versions)
        self._together = AskedTogether.of(job.manifest.recipe, job.workload)
        self._asked: set[tuple[str, range]] = set()
        self._ahead: dict[str, _Answers] = {}

    def do(self, unit: Unit) -> Iterator[Done]:
        """Do what is pending of a unit, step by step.

        Raises:
            RunDirectoryError: The model is not the one the run was started with.
            CapabilityError: The loaded model does not offer what a method needs.
            ModelError: The weights cannot be loaded, or are others each time they are.
        """
        pending = unit.pending
        if not pending:
            return
        self._prepare(pending)
        if pending[0].order is not None:
            yield from self._do_chain(unit)
            return
        for step in pending:
            self._ask_together(step)
            yield self._ask_unedited(step) if step.method == REFERENCE else self._edit_and_probe(step)
            self._replace_if_unrestored()

    @property
    def model(self) -> Model | None:
        """The unedited model, if it is loaded."""
        return self._loaded

    @property
    def _model(self) -> Model:
        assert self._loaded is not None, "a model is loaded before the first step"
        return self._loaded

    def _prepare(self, pending: Sequence[Step]) -> None:
        """Load what the pending steps need, and take the unedited model's fingerprints."""
        if self._loaded is None:
            model = self.job.load()
            require_same_model(self._folder, self._manifest, model)
            self._loaded = model
            require_offered(self._recipe, self._loaded)
        needs_what_was_said = pending[0].method == REFERENCE or self._recipe.protocol.keeps_forced_tokens
        if needs_what_was_said and not self._has_read_journal:
            self._remember_what_was_said()
        for step in pending:
            if step.method == REFERENCE:
                continue
            if step.method not in self._editors:
                self._editors[step.method] = self._create_editor(step.method)
            is_checked = step.order is None or step.is_last
            if is_checked and self._gives_logits and step.edit.id not in self._fingerprints:
                self._fingerprints[step.edit.id] = self._fingerprint(step.edit)

    def _create_editor(self, name: str) -> Editor:
        choice = self._recipe.choice(name)
        return create_editor(choice.method, choice.settings)

    def _method(self, step: Step) -> str:
        """The registered name of a step's method, whatever the variant is called."""
        return self._recipe.choice(step.method).method

    @property
    def _gives_logits(self) -> bool:
        return "logits" in self._model.capabilities

    def _remember_what_was_said(self) -> None:
        """Take from the journal what the unedited model said before this process began."""
        self._has_read_journal = True
        probe_of = {probe.id: probe for probes in self._workload.probes.values() for probe in probes}
        for row in iterate_rows(self._folder):
            if row.phase == "before" and row.probe_id in probe_of and row.raw is not None and row.trace:
                self._said[self._key(self._query(probe_of[row.probe_id]))] = _Said(row.raw, row.trace)

    def _query(self, probe: Probe) -> Query:
        """What a model is asked for a probe, its chain as long as the protocol lets it be."""
        return probe_query(probe, self._recipe.protocol.chain_tokens)

    def _key(self, query: Query) -> str:
        """What a question to the unedited model is known by: its content, the image's bytes included."""
        written = query.model_dump_json()
        folder = query.image.folder if query.image is not None else None
        if (known := self._keys.get(f"{folder}{written}")) is None:
            image = image_key(query.image) if query.image is not None else None
            known = content_id("q", [query.question, image, query.options])
            self._keys[f"{folder}{written}"] = known
        return known

    def _ask_unedited(self, step: Step) -> Done:
        """The reference: what the unedited model says to each probe of an edit, and what it believes."""
        probes = self._workload.probes[step.edit.id]
        stage = "generate"
        try:
            queries = [self._query(probe) for probe in probes]
            self._say(queries)
            said = [self._said[self._key(query)] for query in queries]
            # What the journal says without its price is charged at the price of the rest.
            timings = Timings(generate_s=_charged([words.seconds for words in said]))
            energy = _energy(None, _charged([words.joules for words in said]))
            stage = "score"
            tf = self._score(self._model, probes)
            forced = self._force(self._model, probes)
            stage = "beliefs"
            belief = self._believes(step.edit)
            rows = [
                self._row(
                    step,
                    "before",
                    probe,
                    raw=words.raw,
                    trace=words.trace,
                    tf=share,
                    forced=fed,
                    timings=timings,
                    energy=energy,
                )
                for probe, words, share, fed in zip(probes, said, tf, forced, strict=True)
            ]
        except Exception as error:
            return Done(step.key, (self._row(step, "before", None, failure=_failure(stage, error)),))
        return Done(step.key, tuple(rows), (belief,))

    def _sampling(self, temperature: float, num_samples: int, seed: int) -> _Sampling:
        max_new_tokens = self._recipe.protocol.max_new_tokens
        return _Sampling(max_new_tokens=max_new_tokens, temperature=temperature, num_samples=num_samples, seed=seed)

    def _say(self, queries: Sequence[Query]) -> None:
        """Ask the unedited model what neither this run nor another has asked it yet, and remember what it said."""
        settings = self._sampling(self._recipe.protocol.temperature, 1, self._recipe.seed)
        unsaid = {self._key(query): query for query in queries}
        unsaid = {key: query for key, query in unsaid.items() if key not in self._said}
        written = dict(zip(unsaid, self._outputs.find(list(unsaid.values()), **settings), strict=True))
        new = {key: query for key, query in unsaid.items() if written[key] is None}
        outputs, whole_s, whole_j = self._priced(self._model, list(new.values()))
        seconds, joules = whole_s / max(1, len(new)), _share(whole_j, len(new))
        fresh = [Written(outputs=(output,), seconds=seconds, joules=joules) for output in outputs]
        self._outputs.keep(list(zip(new.values(), fresh, strict=True)), **settings)
        for key, found in {**written, **dict(zip(new, fresh, strict=True))}.items():
            assert found is not None, "what was not on disk has been asked"
            (output,) = found.outputs
            self._said[key] = _Said(output.text, self._read(output, self._model), found.seconds, found.joules)

    def _ask_together(self, step: Step) -> None:
        """Before the first step of a group: ask in one call what its steps will ask the unedited model.

        A group's calls are those of its method, whatever steps of it are done already, so that a run that goes on asks
        in the batches of one that was never interrupted. Whatever goes wrong here is left to the steps, each of which
        asks by itself and puts its own failure on record.
        """
        group = self._together.group(step.index, step.edit) if step.order is None else None
        is_single = self._recipe.schedule == "single"  # else the steps of a method are counted in another way
        can_be = step.method == REFERENCE or (is_single and method_entry(self._method(step)).asks_the_original)
        if group is None or not can_be or (step.method, group) in self._asked:
            return
        self._asked.add((step.method, group))
        edits = [self._together.edits[index] for index in group]
        try:
            if step.method == REFERENCE:
                self._say([self._query(probe) for edit in edits for probe in self._workload.probes[edit.id]])
            else:
                self._probe_together(step.method, group, edits)
        except Exception as error:
            _log.info("%s cannot be asked together (%s): edit by edit instead.", step.key, error)

    def _probe_together(self, method: str, group: range, edits: Sequence[Edit]) -> None:
        """Ask the probes of several edits, each under its own, of a method that asks the unedited model otherwise."""
        asked: list[list[Query]] = []
        for edit in edits:
            made = self._workload.applied(edit)
            with self._editors[method].apply(self._model, made, seed=self._seed(edit)) as edited:
                assert isinstance(edited, AsksTheOriginal), "the method's registry line says so"
                asked.append(edited.asked([self._query(probe) for probe in self._workload.probes[edit.id]]))
        outputs, whole_s, whole_j = self._priced(self._model, [query for queries in asked for query in queries])
        seconds, joules = whole_s / max(1, len(outputs)), _share(whole_j, len(outputs))
        rest = iter(outputs)
        for index, edit, queries in zip(group, edits, asked, strict=True):
            own = list(islice(rest, len(queries)))
            traces = [self._read(output, self._model) for output in own]
            self._ahead[Step(method, index, edit).key] = _Answers(
                own,
                traces,
                generate_s=seconds * len(own),
                generate_j=None if joules is None else joules * len(own),
            )

    def _believes(self, edit: Edit) -> Belief:
        protocol = self._recipe.protocol
        seed = self._seed(edit)
        query = Query(question=edit.question, image=edit.image, options=edit.options)
        settings = self._sampling(protocol.belief_temperature, protocol.belief_samples, seed)
        (written,) = self._outputs.find([query], **settings)
        if written is None:
            (samples,) = self._model.generate([query], **settings)
            written = Written(outputs=tuple(samples))
            self._outputs.keep([(query, written)], **settings)
        return Belief(
            edit_id=edit.id,
            model=self._manifest.model.name,
            answers=tuple(sample.trace(self._model.delimiters) for sample in written.outputs),
            k=protocol.belief_samples,
            temperature=protocol.belief_temperature,
            seed=seed,
        )

    def _edit_and_probe(self, step: Step) -> Done:
        """An edit that stands alone: apply, probe, restore, check."""
        expected = self._fingerprints.get(step.edit.id)
        if isinstance(expected, Failure):  # the model refuses the questions by which its undo would be checked
            return Done(step.key, (self._row(step, "after", None, failure=expected),))
        probes = self._workload.probes[step.edit.id]
        rows: list[Row] = []
        failure: Failure | None = None
        edited: EditedModel | None = None
        stage = "apply"
        restore_s: float | None = None
        if self._is_restored(step) is False:
            self._reload(step)
        try:
            made = self._workload.applied(step.edit)
            edited = self._editors[step.method].apply(self._model, made, seed=self._seed(step.edit))
            cost = edited.cost
            stage = "generate"
            answers = self._ahead.pop(step.key, None) or self._answered(edited, probes)
            stage = "score"
            self._fed(edited, probes, answers)
            rows = self._probe_rows(step, probes, answers, cost)
        except Exception as error:
            failure = _failure(stage, error)
        if edited is not None:
            start = time.perf_counter()
            try:
                edited.restore()
                restore_s = time.perf_counter() - start
            except Exception as error:
                failure = failure or _failure("restore", error)
        is_restored = self._is_restored(step)
        if failure is not None:
            rows = [self._row(step, "after", None, failure=failure)]
        self._unrestored = step if is_restored is False else None
        return Done(step.key, _restored(rows, restore_s, is_restored))

    def _do_chain(self, unit: Unit) -> Iterator[Done]:
        """A chain from its first pending step on, put back first to where it was."""
        pending, last = unit.pending, unit.steps[-1]
        is_checked = not isinstance(self._fingerprints.get(last.edit.id), Failure)
        if is_checked and self._is_restored(last) is False:
            self._reload(last)
        states = ChainStates(self._folder, last.method, last.order or 0)
        method = last.method
        chain = EditChain(self._editors[method], self._model, method_entry(self._method(last)).chain)
        dropped = set(unit.dropped)
        num_done = len(unit.steps) - len(pending)
        written = time.monotonic()
        try:
            self._catch_up(chain, unit.steps[:num_done], states, dropped)
            for step in pending:
                done = self._chain_step(chain, step, dropped)
                num_done += 1
                is_due = bool(step.probed) or time.monotonic() - written >= self._state_every_s
                if step.is_last:
                    done = self._end_chain(chain, step, done)
                elif is_due and chain.keeps_state:
                    states.write(chain, num_done)
                    written = time.monotonic()
                yield done
            self._replace_if_unrestored()
            states.clear()
        finally:
            chain.restore()

    def _catch_up(self, chain: EditChain, steps: Sequence[Step], states: ChainStates, dropped: set[str]) -> None:
        """Put in force what was when the last of these finished steps ended: from a state on disk, and by replay."""
        if not steps:
            return
        if chain.is_anew:
            chain.expect(self._made(tuple(edit for step in steps for edit in step.added)))
            return
        start = 0
        for state in states.usable(len(steps)):
            held = [edit for step in steps[: state.num_steps] for edit in step.added if edit.id not in dropped]
            try:
                chain.load(state.folder, self._made(held))
            except RegroundError as error:
                _log.warning("%s is passed over: %s", state.folder, error.tried)
                continue
            start = state.num_steps
            break
        for step in steps[start:]:
            for edit in step.added:
                if edit.id not in dropped:
                    chain.add(self._workload.applied(edit), seed=self._seed(edit))

    def _made(self, edits: Sequence[Edit]) -> tuple[Edit, ...]:
        """Edits with the companions each brings, in order."""
        return tuple(one for edit in edits for one in self._workload.applied(edit))

    def _chain_step(self, chain: EditChain, step: Step, dropped: set[str]) -> Done:
        """One step of a chain: put its edits in force and, where that is due, probe those that are."""
        rows: list[Row] = []
        cost: EditCost | None = None
        num_applied = step.num_applied if chain.is_anew else len(step.added)
        seed = self._step_seed(step)
        failure: Failure | None = None
        try:
            cost = chain.add(self._made(step.added), seed=seed)
        except Exception as error:
            failure = _failure("apply", error)
            if chain.is_anew:
                return Done(step.key, tuple(self._failed(step, one.edit, failure, one.age) for one in step.probed))
            dropped.update(edit.id for edit in step.added)
        asked = [one for one in step.probed if one.edit.id not in dropped]
        if asked:
            rows += self._probed(chain, step, asked, cost, num_applied)
        elif failure is None:
            rows.append(self._row(step, "after", None, cost=cost, num_applied=num_applied))
        lost = {one.edit.id: one for one in step.probed if one.edit.id in dropped}
        if failure is not None and step.edit.id not in lost:
            rows.append(self._failed(step, step.edit, failure, None))
        not_in_force = failure or Failure(stage="apply", message="the edit could not be put in force when it was due")
        rows += [self._failed(step, one.edit, not_in_force, one.age) for one in lost.values()]
        return Done(step.key, tuple(rows))

    def _probed(
        self, chain: EditChain, step: Step, asked: Sequence[Probed], cost: EditCost | None, num_applied: int
    ) -> list[Row]:
        """The rows of all probes that a step of a chain puts, asked together; or one failed row for each edit."""
        pairs = [(one, probe) for one in asked for probe in self._workload.probes[one.edit.id]]
        probes = [probe for _, probe in pairs]
        stage = "generate"
        try:
            answers = self._answered(chain.model, probes)
            stage = "score"
            self._fed(chain.model, probes, answers)
        except Exception as error:
            failure = _failure(stage, error)
            return [self._failed(step, one.edit, failure, one.age) for one in asked]
        ages = [one.age for one, _ in pairs]
        rows = self._probe_rows(step, probes, answers, cost, num_applied=num_applied)
        return [row.model_copy(update={"age": age}) for row, age in zip(rows, ages, strict=True)]

    def _failed(self, step: Step, edit: Edit, failure: Failure, age: int | None) -> Row:
        """The row of an edit whose probes could not be put, or which could not be put in force (age None)."""
        return self._row(step, "after", None, edit=edit, failure=failure).model_copy(update={"age": age})

    def _end_chain(self, chain: EditChain, step: Step, done: Done) -> Done:
        """Take all edits of a chain off, and say on its last rows whether the model came back."""
        start = time.perf_counter()
        restore_s: float | None = None
        try:
            chain.restore()
            restore_s = time.perf_counter() - start
        except Exception as error:
            rows = (self._failed(step, step.edit, _failure("restore", error), 0),)
            done = Done(done.key, (*(row for row in done.rows if row.edit_id != step.edit.id), *rows))
        expected = self._fingerprints.get(step.edit.id)
        is_restored = None if isinstance(expected, Failure) else self._is_restored(step)
        self._unrestored = step if is_restored is False else None
        return Done(done.key, _restored(done.rows, restore_s, is_restored))

    def _is_restored(self, step: Step) -> bool | None:
        if not self._gives_logits:
            return None
        # A model that cannot even answer is not restored: its failure equals no fingerprint.
        return self._fingerprint(step.edit) == self._fingerprints[step.edit.id]

    def _fingerprint(self, edit: Edit) -> str | Failure:
        """The model's logits for an edit's checked queries, or why there are none."""
        try:
            return self._model.fingerprint(self._checked_queries(edit))
        except Exception as error:
            return _failure("fingerprint", error)

    def _replace_if_unrestored(self) -> None:
        """Called once a step is on disk: the next one must not meet a model that did not come back."""
        if self._unrestored is not None:
            self._reload(self._unrestored)
            self._unrestored = None

    def _reload(self, step: Step) -> None:
        """Replace a model that did not come back, so that the next edit meets the model it should."""
        self._loaded = None
        self._loaded = self.job.load()
        if self._model.fingerprint(self._checked_queries(step.edit)) != self._fingerprints[step.edit.id]:
            raise ModelError(
                f"model {self._recipe.model!r} gives other logits each time it is loaded.",
                "a model that repeats itself bit for bit on this device",
                "switch on deterministic kernels, or run on another device; then `reground run resume`.",
            )

    def _checked_queries(self, edit: Edit) -> list[Query]:
        """What a restored model must answer as before: the question of each edit, and two of its probes if any."""
        probes = self._workload.probes.get(edit.id, ())
        queries = [
            Query(question=one.question, image=one.image, options=one.options)
            for one in reversed(self._workload.applied(edit))
        ]
        for query in [probe_query(probe) for probe in (*probes[:1], *probes[-1:])]:
            if query not in queries:
                queries.append(query)
        return queries

    def _answered(self, model: Model, probes: Sequence[Probe]) -> _Answers:
        """What a model writes to some probes."""
        outputs, seconds, joules = self._priced(model, [self._query(probe) for probe in probes])
        traces = [self._read(output, model) for output in outputs]
        return _Answers(outputs, traces, generate_s=seconds, generate_j=joules)

    def _priced(self, model: Model, queries: Sequence[Query]) -> tuple[list[Output], float, float | None]:
        """What a model writes, and the seconds and joules that took; None where no joules are reported."""
        start, meter = time.perf_counter(), EnergyMeter(devices_of(self._model))
        outputs = self._generate(model, queries)
        return outputs, time.perf_counter() - start, meter.joules()

    def _fed(self, model: Model, probes: Sequence[Probe], answers: _Answers) -> None:
        """Add what a model makes of the texts that are fed to it."""
        answers.tf = self._score(model, probes)
        answers.forced = self._force(model, probes)

    def _generate(self, model: Model, queries: Sequence[Query]) -> list[Output]:
        if not queries:
            return []
        protocol = self._recipe.protocol
        samples = model.generate(
            queries,
            max_new_tokens=protocol.max_new_tokens,
            temperature=protocol.temperature,
            seed=self._recipe.seed,
        )
        return [outputs[0] for outputs in samples]

    def _read(self, output: Output, model: Model) -> Trace:
        return output.trace(model.delimiters, is_thinking=self._recipe.protocol.chain_tokens != 0)

    def _score(self, model: Model, probes: Sequence[Probe]) -> list[float | None]:
        """Teacher-forced share of each probe's expected answer; None where none is expected."""
        found: list[float | None] = [None] * len(probes)
        asked = [
            (index, probe, probe.expectation.answer)
            for index, probe in enumerate(probes)
            if probe.expectation.kind == "answer"
        ]
        if "score" not in model.capabilities or not asked:
            return found
        targets = [answer.text for _, _, answer in asked if answer is not None]
        scores = model.score([self._query(probe) for _, probe, _ in asked], targets)
        for (index, _, _), score in zip(asked, scores, strict=True):
            found[index] = score.top1_share
        return found

    def _force(self, model: Model, probes: Sequence[Probe]) -> list[ForcedTarget | None]:
        """What the model would write in the place of the texts that lenses compare; None where none is to be fed."""
        found: list[ForcedTarget | None] = [None] * len(probes)
        if not self._recipe.protocol.keeps_forced_tokens or "score" not in model.capabilities:
            return found
        said = [self._said.get(self._key(self._query(probe))) for probe in probes]
        targets = [
            forced_target(probe, words.trace if words is not None else None)
            for probe, words in zip(probes, said, strict=True)
        ]
        fed = [(index, text) for index, text in enumerate(targets) if text is not None]
        scores = model.score([self._query(probes[index]) for index, _ in fed], [text for _, text in fed])
        for (index, text), score in zip(fed, scores, strict=True):
            if score.top_ids:
                found[index] = ForcedTarget(text=text, target_ids=score.target_ids, top_ids=score.top_ids)
        return found

    def _seed(self, edit: Edit) -> int:
        """Seed of all that is done for an edit: the same for every method and whatever else is edited."""
        return _drawn_seed(f"{self._recipe.seed}/{edit.id}")

    def _step_seed(self, step: Step) -> int:
        """That of the edit, or of a chain whose edits are put in force together: the same at each of its steps."""
        if step.order is None or method_entry(self._method(step)).chain != "anew":
            return self._seed(step.edit)
        return _drawn_seed(f"{self._recipe.seed}/chain/{step.order}")

    def _probe_rows(
        self,
        step: Step,
        probes: Sequence[Probe],
        answers: _Answers,
        cost: EditCost | None,
        *,
        num_applied: int | None = None,
    ) -> list[Row]:
        """A row for each probe of the edited model."""
        timings = Timings(apply_s=cost.apply_s if cost else None, generate_s=answers.generate_s)
        energy = _energy(cost, answers.generate_j)
        return [
            self._row(
                step,
                "after",
                probe,
                raw=output.text,
                trace=trace,
                tf=share,
                forced=fed,
                timings=timings,
                energy=energy,
                cost=cost,
                num_applied=num_applied,
            )
            for probe, output, trace, share, fed in zip(
                probes, answers.outputs, answers.traces, answers.tf, answers.forced, strict=True
            )
        ]

    def _row(
        self,
        step: Step,
        phase: Phase,
        probe: Probe | None,
        *,
        edit: Edit | None = None,
        raw: str | None = None,
        trace: Trace | None = None,
        tf: float | None = None,
        forced: ForcedTarget | None = None,
        timings: Timings | None = None,
        energy: Energy | None = None,
        cost: EditCost | None = None,
        num_applied: int | None = None,
        failure: Failure | None = None,
    ) -> Row:
        info = self._manifest.model
        edit_id = probe.edit_id if probe is not None else (edit or step.edit).id
        return Row(
            run=self._manifest.run,
            method=step.method,
            model=info.name,
            benchmark=self._manifest.card.name,
            schedule=schedule_name(self._recipe.schedule),
            step=step.index,
            checkpoint=0 if phase == "before" else step.checkpoint,
            order=step.order,
            num_applied=num_applied,
            edit_id=edit_id,
            probe_id=probe.id if probe is not None else None,
            phase=phase,
            raw=raw,
            trace=trace,
            tf=tf,
            forced=forced,
            chain_tokens=self._recipe.protocol.chain_tokens,
            timings=timings or Timings(apply_s=cost.apply_s if cost else None),
            energy=energy or _energy(cost, None),
            peak_bytes=cost.peak_bytes if cost else None,
            stored_bytes=cost.stored_bytes if cost else None,
            num_changed_parameters=cost.num_changed_parameters if cost else None,
            seed=self._step_seed(step),
            dtype=info.dtype,
            device=info.device,
            versions=self._versions_of(step.method),
            failure=failure,
        )

    def _versions_of(self, name: str) -> dict[str, str]:
        if name == REFERENCE:
            return self._versions
        if name not in self._method_versions:
            choice = self._recipe.choice(name)
            config = create_config(choice.method, choice.settings)
            found = {"method_config": content_id("c", [choice.method, config.model_dump(mode="json")])}
            artifact = find_artifact(choice.method, choice.settings, self._recipe.model)
            if artifact is not None:
                found["method_artifact"] = artifact.id
            if choice.is_variant:
                found |= {"method": choice.method, "method_settings": json.dumps(choice.settings, sort_keys=True)}
            self._method_versions[name] = {**self._versions, **found}
        return self._method_versions[name]


@lru_cache(maxsize=1 << 12)
def _drawn_seed(of: str) -> int:
    return int(hashlib.sha256(of.encode()).hexdigest()[:8], 16) >> 1


class Workplace:
    """Where one process does units of one run after another; a model stays loaded while the next run needs the same.

    Args:
        job: A run whose model is loaded already.
        model: That model.
        state_every_s: See ``Worker``.
    """

    def __init__(
        self, job: Job | None = None, model: Model | None = None, *, state_every_s: float = STATE_EVERY_S
    ) -> None:
        self._state_every_s = state_every_s
        self._worker = Worker(job, model, state_every_s=state_every_s) if job is not None else None

    def do(self, job: Job, unit: Unit) -> Iterator[Done]:
        """Do what is pending of a unit; see ``Worker.do``."""
        if self._worker is None or self._worker.job.folder != job.folder:
            model = None
            if self._worker is not None and _model_choice(self._worker.job) == _model_choice(job):
                model = self._worker.model
            self._worker = Worker(job, model, state_every_s=self._state_every_s)
        return self._worker.do(unit)


def _model_choice(job: Job) -> tuple[str | None, ...]:
    recipe = job.manifest.recipe
    return recipe.model, recipe.dtype, recipe.device


def _charged(prices: Sequence[float | None]) -> float | None:
    """The prices together, each that is not known at the mean of the others; None if more than half are not."""
    known = [price for price in prices if price is not None]
    return sum(known) / len(known) * len(prices) if 2 * len(known) >= len(prices) > 0 else None


def _share(joules: float | None, number: int) -> float | None:
    return None if joules is None else joules / max(1, number)


def _energy(cost: EditCost | None, generate_j: float | None) -> Energy | None:
    """What is known of a step's energy; None if nothing is."""
    apply_j = cost.apply_j if cost is not None else None
    return None if apply_j is None and generate_j is None else Energy(apply_j=apply_j, generate_j=generate_j)


def _failure(stage: str, error: Exception) -> Failure:
    return Failure(stage=stage, message=f"{type(error).__name__}: {error}")


def _restored(rows: Sequence[Row], restore_s: float | None, is_restored: bool | None) -> tuple[Row, ...]:
    """The rows with what is known once the model has been restored."""
    return tuple(
        row.model_copy(
            update={
                "is_restored_exactly": is_restored,
                "timings": row.timings.model_copy(update={"restore_s": restore_s}),
            }
        )
        for row in rows
    )


def loader_of(recipe: Recipe, *, stores_images: bool = True) -> Callable[[], Model]:
    """Loads the model a recipe names.

    Args:
        recipe: Names it.
        stores_images: Whether features of its images are kept between processes.
    """
    return partial(_load, recipe.model, recipe.dtype, recipe.device, stores_images=stores_images)


def _load(spec: str, dtype: str | None, device: str | None, *, stores_images: bool) -> Model:
    model = load_model(spec, dtype=dtype, device=device)
    if stores_images and isinstance(model, StoresImages):
        model.store_images()
    return model


def require_offered(recipe: Recipe, model: Model) -> None:
    """Hold the loaded model to what its registry line declared.

    Raises:
        EndpointError: It is to score, and cannot behind the prompts of this recipe.
        CapabilityError: It does not offer what a method of the recipe needs.
    """
    if isinstance(model, TriesScores):
        model.require_scores(is_thinking=recipe.protocol.chain_tokens != 0)
    for name in dict.fromkeys(choice.method for choice in recipe.choices):
        missing = method_entry(name).needs - model.capabilities
        if missing:
            raise CapabilityError(
                f"method {name!r} needs {', '.join(sorted(missing))}; "
                f"model {recipe.model!r}, once loaded, does not offer it.",
                f"a model with {', '.join(sorted(method_entry(name).needs))}",
                f"leave {name!r} out, or choose another model.",
            )


def require_same_model(folder: Path, manifest: Manifest, model: Model) -> None:
    """Hold a loaded model to the one a run was started with.

    Raises:
        RunDirectoryError: Its weights, number format or device are others.
    """
    then, now = manifest.model, model.info
    for what, was, is_now in (
        ("model", then.revision, now.revision),
        ("dtype", then.dtype, now.dtype),
        ("device", then.device, now.device),
    ):
        if was != is_now:
            raise changed(folder, what, was, is_now)


def changed(folder: Path, what: str, then: str, now: str) -> RunDirectoryError:
    """The error that something a run's rows are about is no longer what it was."""
    return RunDirectoryError(
        f"cannot resume {str(folder)!r}: the {what} changed since it was started ({then}, now {now}).",
        f"the same {what}, so that all rows of a run are about the same thing",
        f"restore the {what}, or start the run again in another directory.",
    )
