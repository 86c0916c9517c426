"""Training a trained method: which data it may see, and where its artifact goes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reground.benchmarks.base import Benchmark, ShowsSubjects
from reground.benchmarks.registry import open_benchmark
from reground.edits.records import Edit, Probe
from reground.errors import ArtifactError, CapabilityError, InputError
from reground.methods.artifact import Artifact, FitData, FitSample
from reground.methods.registry import create_fit_config, fit_entry, method_entry
from reground.models.base import Model
from reground.models.registry import load_model, model_entry
from reground.runner.journal import lock_directory

__all__ = ["fit_data", "fit_method"]


def fit_method(
    name: str,
    model_name: str,
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    benchmark_name: str = "phantom",
    split: str = "train",
    validation_split: str = "calibration",
    limit: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    device: str | None = None,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_step: Callable[[int, int, str], None] | None = None,
) -> Artifact:
    """Train a method for a model; a training that was interrupted goes on, a finished one is returned.

    Args:
        name: A method that is trained.
        model_name: The model it is to edit.
        folder: Where the artifact goes.
        settings: Settings of the training that differ from their defaults.
        benchmark_name: Where the edits come from.
        split, validation_split: What is trained on, and what decides when it went best; edits on all other splits may
            be scored.
        limit: Edits of ``split`` at most.
        seed: Of the sample that ``limit`` takes, and of the training.
        dtype, device: See ``load_model``.
        benchmark: Stands in for the benchmark that is named.
        load: Stands in for loading the model that is named.
        on_step: Told of the progress.

    Raises:
        UnknownNameError: No such method, model or benchmark.
        InputError: The method is not trained, a split does not exist or two of them share a subject.
        RecipeError: A setting does not fit.
        CapabilityError: The model does not offer what the method needs.
        ArtifactError: The folder holds another training.
        RunDirectoryError: Another process trains into the folder.
    """
    config = create_fit_config(name, settings)
    missing = method_entry(name).needs - model_entry(model_name).capabilities
    if missing:
        raise CapabilityError(
            f"method {name!r} needs {', '.join(sorted(missing))}; model {model_name!r} does not offer it.",
            "a model with weights",
            "name one, e.g. --model hf:ORG/NAME.",
        )
    data = fit_data(benchmark or open_benchmark(benchmark_name), split, validation_split, limit=limit, seed=seed)
    model = load() if load is not None else load_model(model_name, dtype=dtype, device=device)
    module, _, attribute = fit_entry(name).function.partition(":")
    fit = getattr(importlib.import_module(module), attribute)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot train into {str(folder)!r}: {error.strerror or error}.",
            "a new folder, or one a training was begun in",
            "give another with --out.",
        ) from error
    with lock_directory(folder):
        artifact: Artifact = fit(model, data, config, folder, method=name, seed=seed, on_step=on_step)
    return artifact


def fit_data(
    benchmark: Benchmark, split: str, validation_split: str, *, limit: int | None = None, seed: int = 0
) -> FitData:
    """Edits and probes to train on, none of which touches what may be scored.

    All splits but the two are taken to be scored. A probe is left out if it is put on a scored split too, or if its
    question, its known answer or (where the benchmark knows) its image names or shows what a scored edit is about: its
    subject or, where that is seen in an image, what the image was taken for.

    Args:
        benchmark: Where they come from.
        split, validation_split: See ``fit_method``.
        limit: Edits of ``split`` at most.
        seed: Of the sample that ``limit`` takes.

    Raises:
        InputError: A split does not exist, the two are one, or an edit's subject is in two splits.
    """
    card = benchmark.card()
    if split == validation_split:
        raise InputError(
            f"the split {split!r} of {card.name!r} was to be trained and validated on.",
            "two splits of the benchmark: " + ", ".join(card.splits),
            "name another with --validation-split.",
        )
    training = tuple(benchmark.edits(split, limit, seed))
    validation = tuple(benchmark.edits(validation_split, None, seed))
    scored_splits = tuple(name for name in card.splits if name not in (split, validation_split))
    scored = [edit for name in scored_splits for edit in benchmark.edits(name)]
    _check_disjoint(training, validation, scored, card.name)
    put = {_put(probe) for edit in scored for probe in benchmark.probes(edit)}
    named = _names(scored)

    def samples(edits: Sequence[Edit]) -> tuple[tuple[FitSample, ...], int]:
        asked = [(edit, tuple(benchmark.probes(edit))) for edit in edits]
        kept = [
            (edit, tuple(p for p in probes if _put(p) not in put and not named.search(_text(p, benchmark))))
            for edit, probes in asked
        ]
        num_dropped = sum(len(probes) for _, probes in asked) - sum(len(probes) for _, probes in kept)
        return tuple(FitSample(edit=edit, probes=probes) for edit, probes in kept), num_dropped

    training_samples, num_dropped = samples(training)
    validation_samples, num_dropped_validation = samples(validation)
    return FitData(
        benchmark=card.name,
        version=card.version,
        checksum=card.checksum,
        split=split,
        validation_split=validation_split,
        scored_splits=scored_splits,
        training=training_samples,
        validation=validation_samples,
        num_dropped_probes=num_dropped + num_dropped_validation,
    )


def _check_disjoint(training: Sequence[Edit], validation: Sequence[Edit], scored: Sequence[Edit], name: str) -> None:
    parts = [{edit.subject.casefold() for edit in edits} for edits in (training, validation, scored)]
    shared = sorted((parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2]))
    if shared:
        raise InputError(
            f"a method was to be trained on {name!r}, whose splits share {len(shared)} subjects, e.g. {shared[0]!r}.",
            "splits without a common subject: a method could learn by heart what it is scored on otherwise",
            "split the benchmark by subject.",
        )


def _put(probe: Probe) -> tuple[str, str]:
    return probe.question.casefold(), probe.image.model_dump_json() if probe.image is not None else ""


def _text(probe: Probe, benchmark: Benchmark) -> str:
    """Everything a probe names or shows, as text."""
    answer = probe.expectation.answer
    shown = benchmark.shown(probe.image) if probe.image and isinstance(benchmark, ShowsSubjects) else ()
    return "\n".join((probe.question, *(answer.spellings if answer is not None else ()), *sorted(shown)))


def _names(edits: Iterable[Edit]) -> re.Pattern[str]:
    """Whatever the edits are about, as whole words."""
    names = {edit.subject for edit in edits}
    names |= {edit.prior_answer.text for edit in edits if edit.modality == "visual" and edit.prior_answer is not None}
    written = sorted(map(re.escape, names), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(written)})(?!\w)" if written else r"(?!)", re.IGNORECASE)
