"""The training of trained methods: one loop, which an interruption does not hurt, and what it needs of a method.

Axes: B rows of a batch, K counted positions, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file

from reground.edits.records import Edit, Probe, content_id
from reground.errors import ArtifactError, InputError, ModelError
from reground.methods.artifact import (
    TENSOR_FILE,
    Artifact,
    FitConfig,
    FitData,
    FitPoint,
    FitReport,
    FitSample,
    ModelIdentity,
    file_checksum,
)
from reground.methods.chain_target import TargetKind, completion_targets
from reground.methods.identity import model_identity
from reground.methods.training_step import seeded
from reground.methods.weight_edit import copy_into
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

__all__ = [
    "Learner",
    "OnStep",
    "OwnOutputs",
    "completion_logits",
    "divergence",
    "drawn",
    "fact_targets",
    "fit_artifact",
    "same_fact",
    "target_loss",
    "unchanged",
]

#: Called with steps done, steps in all, and what is going on.
OnStep = Callable[[int, int, str], None]

_CHECKPOINT = "checkpoint.pt"
_OUTPUTS = "outputs.json"
_CHUNK = 256
_NO_LABEL = -100


class Learner(Protocol):
    """What a trained method gives to the loop."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, as ``torch.optim`` takes it; a group may carry a ``lr`` of its own."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that is learned and has to be kept, the very tensors."""
        ...

    def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
        """Parts of the loss of a batch; the loss is the sum of all parts that are yielded.

        All chance comes from ``rng``. A caller goes backward through each before it asks for the next.
        """
        ...


class OwnOutputs:
    """What the unedited model itself writes, asked once and kept in a folder until the training is done.

    Args:
        local: The model, without edits in force.
        folder: Where it is kept.
        max_new_tokens: Token budget.
    """

    def __init__(self, local: HfModel, folder: Path, max_new_tokens: int) -> None:
        self._local = local
        self._path = folder / _OUTPUTS
        self._max_new_tokens = max_new_tokens
        image_token = local.processor.tokenizer.convert_ids_to_tokens(local.module.config.image_token_id)
        self._image_token: str = image_token
        self._texts: dict[str, str] = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}

    def ask(self, queries: Sequence[Query], on_step: OnStep | None = None) -> None:
        """Ask what has not been asked yet, greedy, part by part."""
        new = list({_key(query): query for query in queries if _key(query) not in self._texts}.values())
        for start in range(0, len(new), _CHUNK):
            if on_step is not None:
                on_step(start, len(new), "outputs")
            part = new[start : start + _CHUNK]
            outputs = self._local.generate(part, max_new_tokens=self._max_new_tokens)
            self._texts |= {_key(query): output.text for query, (output,) in zip(part, outputs, strict=True)}
            _write_whole(self._path, lambda path: path.write_text(json.dumps(self._texts), encoding="utf-8"))

    def __getitem__(self, query: Query) -> str:
        """What the model wrote."""
        return self._texts[_key(query)]

    def __contains__(self, query: Query) -> bool:
        """Whether the model was asked, and wrote a text that can be a completion."""
        text = self._texts.get(_key(query), "")
        return bool(text.strip()) and self._image_token not in text


def _key(query: Query) -> str:
    return content_id("q", query.model_dump(mode="json"))


def completion_logits(module: Any, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (KV, single precision) at the positions that predict a completion's tokens, and those tokens (K).

    Args:
        module: The model, or anything that is called as it is.
        batch: What ``HfModel.training_batch`` returned.
    """
    labels_BT = batch["labels"]
    first = int((labels_BT != _NO_LABEL).any(dim=0).nonzero()[0])
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    num_kept = labels_BT.shape[1] - first + 1
    logits_BTV = module(**inputs, use_cache=False, logits_to_keep=num_kept, return_dict=True).logits
    counted_BT = labels_BT[:, first:] != _NO_LABEL
    return logits_BTV[:, :-1][counted_BT].float(), labels_BT[:, first:][counted_BT]


def target_loss(logits_KV: torch.Tensor, labels_K: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of tokens, in nats."""
    return torch.nn.functional.cross_entropy(logits_KV, labels_K)


def divergence(before_KV: torch.Tensor, after_KV: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the next token, before the edit from after it, mean over positions, in nats.

    Args:
        before_KV: Logits of the unedited model.
        after_KV: Logits of the edited one.
    """
    before, after = before_KV.log_softmax(-1), after_KV.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).mean()


def fact_targets(
    local: HfModel, samples: Sequence[FitSample], kind: TargetKind, *, max_chain_tokens: int, method_name: str
) -> dict[str, str]:
    """What should be written after the questions about each fact: texts by the id of an edit, or of a probe.

    Args:
        local: The model, without edits in force.
        samples: Edits and their probes; those that ask for the edited fact itself get a target too.
        kind: Bare answer, or chain and answer.
        max_chain_tokens: Token budget of the model's own chain.
        method_name: For messages.

    Raises:
        CapabilityError: A chain is wanted from a model that writes none.
    """
    asked = {sample.edit.id: sample.edit for sample in samples}
    asked |= {probe.id: _asked_as(sample.edit, probe) for sample in samples for probe in same_fact(sample)}
    targets = completion_targets(
        local, list(asked.values()), kind, max_chain_tokens=max_chain_tokens, method_name=method_name
    )
    return {name: target.text for name, target in zip(asked, targets, strict=True)}


def _asked_as(edit: Edit, probe: Probe) -> Edit:
    return edit.model_copy(update={"question": probe.question, "image": probe.image, "options": probe.options})


def same_fact(sample: FitSample) -> list[Probe]:
    """Probes that ask for the edited fact itself, the edit's own question left out."""
    return [probe for probe in sample.probes if probe.kind == "generality"]


def unchanged(sample: FitSample) -> list[Probe]:
    """Probes that the edit must leave alone."""
    return [probe for probe in sample.probes if probe.expectation.kind == "unchanged"]


def drawn(probes: Sequence[Probe], count: int, rng: random.Random) -> list[Probe]:
    """``count`` of them, or all if there are fewer."""
    return rng.sample(probes, min(count, len(probes)))


def fit_artifact(
    local: HfModel,
    data: FitData,
    config: FitConfig,
    folder: Path,
    make_learner: Callable[[], Learner],
    *,
    method: str,
    seed: int,
    on_step: OnStep | None = None,
) -> Artifact:
    """Train a method, and leave its artifact in ``folder``.

    A training that was interrupted, in whatever way, goes on from its last checkpoint and ends with the values an
    uninterrupted one would have; one that is finished is returned as it is. The model is not changed.

    Args:
        local: The model the method is to edit.
        data: What it learns from.
        config: Settings.
        folder: Where; made if absent.
        make_learner: Called once, when the folder is there, inside a block whose random state is seeded.
        method: Registered name of the method.
        seed: From which first values and the order of the data follow.
        on_step: Told of the progress.

    Raises:
        InputError: Edits are in force, or there is nothing to learn from.
        ArtifactError: ``folder`` holds another training, or cannot be written to.
        ModelError: The training diverged.
    """
    _check_start(local, data, method)
    identity = model_identity(local)
    request = _request(method, config, seed, identity, data)
    if (finished := _finished(folder, method, request)) is not None:
        return finished
    state = _State.read(folder, request)
    with seeded(seed, local.device):
        learner = make_learner()
    report = _Training(learner, data, config, folder, state, seed, on_step).run()
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in state.best.items()}, folder / TENSOR_FILE)
    artifact = Artifact(
        method=method,
        config=config.model_dump(mode="json"),
        seed=seed,
        model=identity,
        data=data.summary(),
        report=report,
        tensors=file_checksum(folder / TENSOR_FILE),
        request=request,
    )
    artifact.write(folder)
    (folder / _CHECKPOINT).unlink(missing_ok=True)
    (folder / _OUTPUTS).unlink(missing_ok=True)
    return artifact


@dataclass
class _State:
    """What a training carries from step to step; one is on disk as of the last checkpoint."""

    request: str
    step: int = 0
    wall_s: float = 0.0
    best_step: int = 0
    best_loss: float = math.inf
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, request: str) -> _State:
        """The checkpoint in a folder, or the state before the first step if there is none."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(
                f"cannot train into {str(folder)!r}: {error.strerror or error}.",
                "a new folder, or one a training was begun in",
                "give another with --out.",
            ) from error
        path = folder / _CHECKPOINT
        if not path.is_file():
            state = cls(request)
            state.write(folder)
            return state
        try:
            state = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise ArtifactError(
                f"the checkpoint in {str(folder)!r} cannot be read.",
                "a checkpoint.pt that `reground methods fit` of this version wrote",
                "remove the folder and begin anew.",
            ) from error
        if state.request != request:
            raise _other_training(folder)
        return state

    def write(self, folder: Path) -> None:
        """Put the state on disk, whole or not at all."""
        _write_whole(folder / _CHECKPOINT, lambda path: torch.save(vars(self), path))


class _Training:
    """The loop, from wherever ``state`` stands."""

    def __init__(
        self,
        learner: Learner,
        data: FitData,
        config: FitConfig,
        folder: Path,
        state: _State,
        seed: int,
        on_step: OnStep | None,
    ) -> None:
        self._learner, self._data, self._config = learner, data, config
        self._folder, self._state, self._seed, self._on_step = folder, state, seed, on_step
        self._groups = learner.parameter_groups()
        self._parameters = [parameter for group in self._groups for parameter in group["params"]]
        self._optimiser = torch.optim.Adam(self._groups, lr=config.learning_rate)
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._began = time.monotonic() - state.wall_s

    def run(self) -> FitReport:
        """Train to the last step."""
        state, config = self._state, self._config
        if state.curve:
            copy_into(self._learner.tensors(), state.tensors)
            self._optimiser.load_state_dict(state.optimiser)
        else:
            self._measure({})
        totals: dict[str, float] = {}
        last = state.step
        while state.step < config.num_steps:
            for name, value in self._take_step().items():
                totals[name] = totals.get(name, 0.0) + value
            state.step += 1
            if self._on_step is not None:
                self._on_step(state.step, config.num_steps, "steps")
            if state.step % config.validate_every == 0 or state.step == config.num_steps:
                self._measure({name: value / (state.step - last) for name, value in totals.items()})
                totals, last = {}, state.step
        return FitReport(
            num_steps=state.step,
            best_step=state.best_step,
            wall_s=state.wall_s,
            num_parameters=sum(parameter.numel() for parameter in self._parameters),
            curve=tuple(FitPoint(**point) for point in state.curve),
        )

    def _take_step(self) -> dict[str, float]:
        state, config = self._state, self._config
        rng = random.Random(f"fit/{self._seed}/{state.step}")
        share = 0.5 * (1 + math.cos(math.pi * state.step / config.num_steps))
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        self._optimiser.zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        samples = rng.sample(self._data.training, min(config.batch_size, len(self._data.training)))
        for parts in self._learner.losses(samples, rng):
            loss = sum(parts.values(), torch.zeros(()))
            if not torch.isfinite(loss):
                raise _diverged(state.step, config.learning_rate)
            loss.backward()  # type: ignore[no-untyped-call]
            _add(totals, parts)
        torch.nn.utils.clip_grad_norm_(self._parameters, config.gradient_limit)
        self._optimiser.step()
        return totals

    @torch.no_grad()
    def _measure(self, training: dict[str, float]) -> None:
        """Measure on the validation edits, note it, keep the values if they are the best so far, and make it stay."""
        state, learner = self._state, self._learner
        totals: dict[str, float] = {}
        samples = self._data.validation[: self._config.num_validation]
        size = self._config.batch_size
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            for parts in learner.losses(part, random.Random(f"validate/{start}")):
                _add(totals, {name: value * len(part) / len(samples) for name, value in parts.items()})
        loss = sum(totals.values())
        if not math.isfinite(loss):
            raise _diverged(state.step, self._config.learning_rate)
        held = {name: tensor.detach().clone() for name, tensor in learner.tensors().items()}
        if loss < state.best_loss:
            state.best, state.best_loss, state.best_step = held, loss, state.step
        state.tensors, state.optimiser = held, self._optimiser.state_dict()
        state.curve.append({"step": state.step, "training": training, "validation": totals})
        state.wall_s = time.monotonic() - self._began
        state.write(self._folder)


def _add(totals: dict[str, float], parts: Mapping[str, torch.Tensor]) -> None:
    for name, value in parts.items():
        totals[name] = totals.get(name, 0.0) + float(value.detach())


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)


def _request(method: str, config: FitConfig, seed: int, identity: ModelIdentity, data: FitData) -> str:
    content = {
        "method": method,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "weights": identity.weights,
        "dtype": identity.dtype,
        "data": data.digest,
    }
    return content_id("f", content)


def _finished(folder: Path, method: str, request: str) -> Artifact | None:
    if not (folder / "artifact.json").is_file():
        return None
    artifact = Artifact.read(folder, method)
    if artifact.request != request:
        raise _other_training(folder)
    return artifact


def _check_start(local: HfModel, data: FitData, method: str) -> None:
    if local.edits_in_force:
        raise InputError(
            f"method {method!r} was to be trained on {local.info.name!r}, which has edits in force.",
            "the unedited model",
            "restore the edits first.",
        )
    for part, samples in (("training", data.training), ("validation", data.validation)):
        if not samples:
            raise InputError(
                f"method {method!r} was to be trained on {data.benchmark!r}, which gives no {part} edits.",
                "at least one edit of each of the two splits",
                "name other splits with --split and --validation-split.",
            )


def _other_training(folder: Path) -> ArtifactError:
    return ArtifactError(
        f"{str(folder)!r} holds a training with another method, settings, seed, model or data.",
        "a new folder, or the one this very training was begun in",
        "give another with --out, or repeat the command as it was first given.",
    )


def _diverged(step: int, learning_rate: float) -> ModelError:
    return ModelError(
        f"the training diverged at learning_rate={learning_rate}: the loss is not finite after {step} steps.",
        "a step size at which the loss stays finite",
        "lower learning_rate, or load the model in float32.",
    )
