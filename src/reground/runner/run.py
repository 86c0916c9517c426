"""Running a recipe: the unedited model first, then edit, probe and restore, each step into the journal.

Four rules hold here. What the unedited model said is asked before any edit is applied, once. The model is restored
after every edit, and checked: its logits must be those from before the first edit, bit for bit. Outputs are compared
nowhere here; scores are computed from the rows. An editor is given the edit and never sees a probe.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from reground.benchmarks.base import Benchmark
from reground.benchmarks.registry import absolute_name
from reground.edits.files import write_atomically, write_records
from reground.edits.images import image_key
from reground.edits.records import Edit, Failure, ForcedTarget, Phase, Probe, Row, Timings, Trace, content_id
from reground.errors import CapabilityError, ModelError, RunDirectoryError
from reground.evaluation.lenses.targets import forced_target
from reground.evaluation.results import Summary, write_summary
from reground.evaluation.scores import summarise
from reground.evaluation.strata import Belief
from reground.methods.base import EditCost, EditedModel, Editor
from reground.methods.registry import create_config, create_editor, find_artifact, method_entry
from reground.models.base import Model, Output, Query, probe_query
from reground.models.registry import load_model
from reground.runner.belief_cache import BeliefCache
from reground.runner.journal import Journal, lock_directory, read_beliefs, read_rows
from reground.runner.manifest import (
    MANIFEST_FILE,
    Manifest,
    collect_versions,
    make_manifest,
    read_manifest,
    write_manifest,
)
from reground.runner.plan import Companion, Workload, check_capabilities, load_workload
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, Step, reference_steps, single_steps
from reground.runner.zero_shot import ZeroShotRecord, ask_zero_shot

__all__ = [
    "COMPANIONS_FILE",
    "EDITS_FILE",
    "PROBES_FILE",
    "SUMMARY_FILE",
    "TAGS_FILE",
    "Progress",
    "RunResult",
    "require_empty",
    "resume_run",
    "start_run",
]

COMPANIONS_FILE = "companions.jsonl"
EDITS_FILE = "edits.jsonl"
PROBES_FILE = "probes.jsonl"
SUMMARY_FILE = "summary.json"
TAGS_FILE = "tags.json"

#: Called after every step with the number of steps done, the number in all, and what is next.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RunResult:
    """A finished run: its directory, its summary and how many of its steps failed."""

    folder: Path
    summary: Summary
    num_steps: int
    num_failed_steps: int


def start_run(
    recipe: Recipe,
    folder: Path,
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
) -> RunResult:
    """Run a recipe into a new directory. Nothing is written before everything that can be checked is.

    Args:
        recipe: What to run.
        folder: Where; it may exist if it is empty.
        benchmark: Stands in for the benchmark the recipe names.
        load: Stands in for loading the model the recipe names.
        on_progress: See ``Progress``.

    Raises:
        RunDirectoryError: The directory is not empty, or is being written to.
        CapabilityError: A method needs what the model does not offer.
        InputError: The recipe, the benchmark or an image does not fit, or the zero-shot filter leaves no edit.
        ModelError: The weights cannot be loaded or are not finite.
    """
    require_empty(folder)
    check_capabilities(recipe)
    recipe = recipe.placed
    workload = load_workload(recipe, benchmark)
    load = load or _loader(recipe)
    model = load()
    _require_offered(recipe, model)
    zero_shot = _zero_shot(recipe, workload, model, on_progress)
    if zero_shot is not None:
        workload = workload.only(zero_shot.edit_ids)
    name = recipe.benchmark.name
    manifest = make_manifest(
        recipe,
        model.info,
        workload.card,
        num_edits=len(workload.edits),
        num_probes=sum(map(len, workload.probes.values())),
        benchmark_folder=absolute_name(name) if benchmark is None else None,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        zero_shot=zero_shot,
    )
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot run into {str(folder)!r}: {error.strerror or error}.",
            "a new or empty directory that can be written to",
            "give one with --out.",
        ) from error
    with _about_files_of(folder), lock_directory(folder):
        _require_empty(folder)
        try:
            write_manifest(folder, manifest)
        except OSError:
            if is_new:  # nothing has begun, so nothing is left behind
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return _Run(folder, manifest, workload, load, model, on_progress).finish()


def resume_run(
    folder: Path,
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
) -> RunResult:
    """Finish a run that was interrupted or had failed steps.

    Finished steps are not done again. A half-written one is, wholly; and one that failed is tried once more.

    Args:
        folder: The run directory.
        benchmark: Stands in for the benchmark the recipe names.
        load: Stands in for loading the model the recipe names.
        on_progress: See ``Progress``.

    Raises:
        RunDirectoryError: The directory is damaged, of another version, about other data or another model, or
            being written to.
        ModelError: The weights cannot be loaded or are not finite.
    """
    manifest = read_manifest(folder)
    recipe = manifest.recipe
    choice = recipe.benchmark.model_copy(update={"name": manifest.benchmark_folder or recipe.benchmark.name})
    workload = load_workload(recipe.model_copy(update={"benchmark": choice}), benchmark)
    if workload.card.checksum != manifest.card.checksum:
        raise _changed(folder, "data", manifest.card.checksum[:12], workload.card.checksum[:12])
    if manifest.zero_shot is not None:
        workload = workload.only(manifest.zero_shot.edit_ids)
    with _about_files_of(folder), lock_directory(folder):
        return _Run(folder, manifest, workload, load or _loader(recipe), None, on_progress).finish()


class _Sampling(TypedDict):
    """How beliefs are sampled, as ``Model.generate`` takes it."""

    max_new_tokens: int
    temperature: float
    num_samples: int
    seed: int


@dataclass(frozen=True)
class _Said:
    """What the unedited model said to one question."""

    raw: str
    trace: Trace


class _Run:
    """One process's work on a run directory."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        workload: Workload,
        load: Callable[[], Model],
        model: Model | None,
        on_progress: Progress | None,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._recipe = manifest.recipe
        self._workload = workload
        self._load = load
        self._loaded = model
        self._on_progress = on_progress or (lambda done, total, label: None)
        self._said: dict[str, _Said] = {}
        self._keys: dict[str, str] = {}
        self._fingerprints: dict[str, str | Failure] = {}
        self._editors: dict[str, Editor] = {}
        self._versions = {
            **collect_versions(),
            "model_revision": manifest.model.revision,
            "benchmark_version": manifest.card.version,
            "recipe": manifest.recipe_digest,
        }
        self._method_versions: dict[str, dict[str, str]] = {}
        self._beliefs = BeliefCache(manifest.model, self._versions)
        self._journal = Journal(folder)

    def finish(self) -> RunResult:
        """Do every step that is not done or failed, and write the summary."""
        self._write_what_is_asked()
        steps = [
            *reference_steps(self._workload.edits),
            *single_steps(self._recipe.methods, self._workload.edits),
        ]
        finished = self._journal.finished
        failed = {(row.method, row.step) for row in read_rows(self._folder) if row.failure is not None}
        pending = [step for step in steps if step.key not in finished or (step.method, step.index) in failed]
        if pending:
            self._prepare(pending)
        num_done = len(steps) - len(pending)
        for step in pending:
            self._on_progress(num_done, len(steps), step.method)
            if step.method == REFERENCE:
                self._ask_unedited(step)
            else:
                self._edit_and_probe(step)
            num_done += 1
        self._on_progress(num_done, len(steps), "summary")
        summary = self._summarise()
        return RunResult(self._folder, summary, len(steps), summary.num_failed_steps)

    @property
    def _model(self) -> Model:
        assert self._loaded is not None, "a model is loaded before the first step"
        return self._loaded

    def _write_what_is_asked(self) -> None:
        """Edits, probes and tags beside the rows; written anew when a run goes on, since a copy may be damaged."""
        probes = [probe for edit in self._workload.edits for probe in self._workload.probes[edit.id]]
        write_records(self._folder / EDITS_FILE, self._workload.edits)
        companions = [
            Companion(edit_id=edit.id, edit=companion)
            for edit in self._workload.edits
            for companion in self._workload.companions.get(edit.id, ())
        ]
        if companions:
            write_records(self._folder / COMPANIONS_FILE, companions)
        write_records(self._folder / PROBES_FILE, probes)
        if self._workload.tags:
            write_atomically(self._folder / TAGS_FILE, json.dumps(self._workload.tags, indent=0) + "\n")

    def _prepare(self, pending: Sequence[Step]) -> None:
        """Load what the pending steps need, and take the unedited model's fingerprints."""
        if self._loaded is None:
            self._loaded = self._load()
            then, now = self._manifest.model, self._loaded.info
            for what, was, is_now in (
                ("model", then.revision, now.revision),
                ("dtype", then.dtype, now.dtype),
                ("device", then.device, now.device),
            ):
                if was != is_now:
                    raise _changed(self._folder, what, was, is_now)
            _require_offered(self._recipe, self._loaded)
        self._remember_what_was_said()
        for step in pending:
            if step.method == REFERENCE:
                continue
            if step.method not in self._editors:
                self._editors[step.method] = create_editor(step.method, self._recipe.methods[step.method])
            if self._gives_logits and step.edit.id not in self._fingerprints:
                self._fingerprints[step.edit.id] = self._fingerprint(step.edit)

    @property
    def _gives_logits(self) -> bool:
        return "score" in self._model.capabilities

    def _remember_what_was_said(self) -> None:
        """Take from the journal what the unedited model said before the run was interrupted."""
        probe_of = {probe.id: probe for probes in self._workload.probes.values() for probe in probes}
        for row in read_rows(self._folder):
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

    def _ask_unedited(self, step: Step) -> None:
        """The reference: what the unedited model says to each probe of an edit, and what it believes."""
        probes = self._workload.probes[step.edit.id]
        stage = "generate"
        try:
            queries = [self._query(probe) for probe in probes]
            new = {self._key(query): query for query in queries}
            new = {key: query for key, query in new.items() if key not in self._said}
            start = time.perf_counter()
            outputs = self._generate(self._model, list(new.values()))
            seconds = time.perf_counter() - start
            for key, output in zip(new, outputs, strict=True):
                self._said[key] = _Said(output.text, self._read(output, self._model))
            said = [self._said[self._key(query)] for query in queries]
            # Answers taken from the cache cost nothing here; they are charged at the price of the others.
            is_measured = 2 * len(new) >= len(queries) > 0
            timings = Timings(generate_s=seconds / len(new) * len(queries) if is_measured else None)
            stage = "score"
            tf = self._score(self._model, probes)
            forced = self._force(self._model, probes)
            stage = "beliefs"
            beliefs = [self._believes(step.edit)]
            rows = [
                self._row(
                    step, "before", probe, raw=words.raw, trace=words.trace, tf=share, forced=fed, timings=timings
                )
                for probe, words, share, fed in zip(probes, said, tf, forced, strict=True)
            ]
        except Exception as error:
            self._journal.append(step.key, [self._row(step, "before", None, failure=_failure(stage, error))])
        else:
            self._journal.append(step.key, rows, beliefs)

    def _believes(self, edit: Edit) -> Belief:
        protocol = self._recipe.protocol
        seed = self._seed(edit)
        query = Query(question=edit.question, image=edit.image, options=edit.options)
        settings = _Sampling(
            max_new_tokens=protocol.max_new_tokens,
            temperature=protocol.belief_temperature,
            num_samples=protocol.belief_samples,
            seed=seed,
        )
        samples = self._beliefs.find(query, **settings)
        if samples is None:
            (samples,) = self._model.generate([query], **settings)
            self._beliefs.keep(query, samples, **settings)
        return Belief(
            edit_id=edit.id,
            model=self._manifest.model.name,
            answers=tuple(sample.trace(self._model.delimiters) for sample in samples),
            k=protocol.belief_samples,
            temperature=protocol.belief_temperature,
            seed=seed,
        )

    def _edit_and_probe(self, step: Step) -> None:
        """One step of the single schedule: apply, probe, restore, check."""
        expected = self._fingerprints.get(step.edit.id)
        if isinstance(expected, Failure):  # the model refuses the questions by which its undo would be checked
            self._journal.append(step.key, [self._row(step, "after", None, failure=expected)])
            return
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
            start = time.perf_counter()
            outputs = self._generate(edited, [self._query(probe) for probe in probes])
            timings = Timings(apply_s=cost.apply_s, generate_s=time.perf_counter() - start)
            traces = [self._read(output, edited) for output in outputs]
            stage = "score"
            tf = self._score(edited, probes)
            forced = self._force(edited, probes)
            rows = [
                self._row(
                    step, "after", probe, raw=out.text, trace=trace, tf=share, forced=fed, timings=timings, cost=cost
                )
                for probe, out, trace, share, fed in zip(probes, outputs, traces, tf, forced, strict=True)
            ]
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
        self._journal.append(
            step.key,
            [
                row.model_copy(
                    update={
                        "is_restored_exactly": is_restored,
                        "timings": row.timings.model_copy(update={"restore_s": restore_s}),
                    }
                )
                for row in rows
            ],
        )
        if is_restored is False:
            self._reload(step)

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

    def _reload(self, step: Step) -> None:
        """Replace a model that did not come back, so that the next edit meets the model it should."""
        self._loaded = None
        self._loaded = self._load()
        if self._model.fingerprint(self._checked_queries(step.edit)) != self._fingerprints[step.edit.id]:
            raise ModelError(
                f"model {self._recipe.model!r} gives other logits each time it is loaded.",
                "a model that repeats itself bit for bit on this device",
                "switch on deterministic kernels, or run on another device; then `reground run resume`.",
            )

    def _checked_queries(self, edit: Edit) -> list[Query]:
        """What a restored model must answer as before: the question of each edit, and two of its probes."""
        probes = self._workload.probes[edit.id]
        queries = [
            Query(question=one.question, image=one.image, options=one.options)
            for one in reversed(self._workload.applied(edit))
        ]
        for query in [probe_query(probe) for probe in (*probes[:1], *probes[-1:])]:
            if query not in queries:
                queries.append(query)
        return queries

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
        return int(hashlib.sha256(f"{self._recipe.seed}/{edit.id}".encode()).hexdigest()[:8], 16) >> 1

    def _row(
        self,
        step: Step,
        phase: Phase,
        probe: Probe | None,
        *,
        raw: str | None = None,
        trace: Trace | None = None,
        tf: float | None = None,
        forced: ForcedTarget | None = None,
        timings: Timings | None = None,
        cost: EditCost | None = None,
        failure: Failure | None = None,
    ) -> Row:
        info = self._manifest.model
        return Row(
            run=self._manifest.run,
            method=step.method,
            model=info.name,
            benchmark=self._manifest.card.name,
            schedule=self._recipe.schedule,
            step=step.index,
            checkpoint=0 if phase == "before" else 1,
            edit_id=step.edit.id,
            probe_id=probe.id if probe is not None else None,
            phase=phase,
            raw=raw,
            trace=trace,
            tf=tf,
            forced=forced,
            chain_tokens=self._recipe.protocol.chain_tokens,
            timings=timings or Timings(),
            peak_bytes=cost.peak_bytes if cost else None,
            stored_bytes=cost.stored_bytes if cost else None,
            num_changed_parameters=cost.num_changed_parameters if cost else None,
            seed=self._seed(step.edit),
            dtype=info.dtype,
            device=info.device,
            versions=self._versions_of(step.method),
            failure=failure,
        )

    def _versions_of(self, method: str) -> dict[str, str]:
        if method == REFERENCE:
            return self._versions
        if method not in self._method_versions:
            settings = self._recipe.methods[method]
            config = create_config(method, settings)
            found = {"method_config": content_id("c", [method, config.model_dump(mode="json")])}
            artifact = find_artifact(method, settings, self._recipe.model)
            if artifact is not None:
                found["method_artifact"] = artifact.id
            self._method_versions[method] = {**self._versions, **found}
        return self._method_versions[method]

    def _summarise(self) -> Summary:
        """Scores of everything in the journal, read back from disk: what is on disk is what counts."""
        summary = summarise(
            self._workload.edits,
            [probe for edit in self._workload.edits for probe in self._workload.probes[edit.id]],
            read_rows(self._folder),
            read_beliefs(self._folder),
            settings=self._recipe.protocol,
            run=self._manifest.run,
            notes=(self._manifest.zero_shot.sentence,) if self._manifest.zero_shot is not None else (),
            tags=self._workload.tags,
        )
        write_summary(summary, self._folder / SUMMARY_FILE)
        return summary


def _failure(stage: str, error: Exception) -> Failure:
    return Failure(stage=stage, message=f"{type(error).__name__}: {error}")


def _zero_shot(recipe: Recipe, workload: Workload, model: Model, on_progress: Progress | None) -> ZeroShotRecord | None:
    """What the recipe's zero-shot filter lets through; None if it has none."""
    if not recipe.benchmark.zero_shot_filter:
        return None
    show = on_progress or (lambda done, total, label: None)
    return ask_zero_shot(
        workload.edits,
        model,
        limit=recipe.benchmark.limit,
        max_new_tokens=recipe.protocol.max_new_tokens,
        on_progress=lambda done, total: show(done, total, "filter"),
    )


def _loader(recipe: Recipe) -> Callable[[], Model]:
    return lambda: load_model(recipe.model, dtype=recipe.dtype, device=recipe.device)


def _require_offered(recipe: Recipe, model: Model) -> None:
    """Hold the loaded model to what its registry line declared."""
    for name in recipe.methods:
        missing = method_entry(name).needs - model.capabilities
        if missing:
            raise CapabilityError(
                f"method {name!r} needs {', '.join(sorted(missing))}; "
                f"model {recipe.model!r}, once loaded, does not offer it.",
                f"a model with {', '.join(sorted(method_entry(name).needs))}",
                f"leave {name!r} out, or choose another model.",
            )


@contextmanager
def _about_files_of(folder: Path) -> Iterator[None]:
    """Name the run directory where the system refuses to read or write in it, be it rights or a full disk."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read or write in {str(folder)!r}: {error.strerror or error}.",
            "a directory with room in it, whose files can be read and written",
            f"put that right; if the run had begun, `reground run resume {folder}` goes on with it.",
        ) from error


def require_empty(folder: Path) -> None:
    """Nothing, if a run can start in ``folder``: it is empty, or not there yet.

    Raises:
        RunDirectoryError: It is a file, holds something, or cannot be looked into.
    """
    with _about_files_of(folder):
        _require_empty(folder)


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunDirectoryError(
            f"cannot run into {str(folder)!r}: it is a file.",
            "a new or empty directory",
            "give one with --out.",
        )
    # A process that was killed can leave its lock, and a manifest that had not got its name yet.
    leftovers = (".lock", f".{MANIFEST_FILE}.")
    found = [path.name for path in folder.iterdir() if not path.name.startswith(leftovers)] if folder.is_dir() else []
    if MANIFEST_FILE in found:
        raise RunDirectoryError(
            f"cannot start a run in {str(folder)!r}: there is one already.",
            "a new or empty directory",
            f"run `reground run resume {folder}` to go on with it, or give another directory with --out.",
        )
    if found:
        raise RunDirectoryError(
            f"cannot start a run in {str(folder)!r}: it holds {sorted(found)[0]!r}.",
            "a new or empty directory",
            "give another directory with --out.",
        )


def _changed(folder: Path, what: str, then: str, now: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"cannot resume {str(folder)!r}: the {what} changed since it was started ({then}, now {now}).",
        f"the same {what}, so that all rows of a run are about the same thing",
        f"restore the {what}, or start the run again in another directory.",
    )
