"""The training of SERAC: which queries an edit concerns, and what to answer to those.

Axes: B queries, N edits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call

from reground.edits.records import Edit, Probe
from reground.methods.artifact import Artifact, FitData, FitSample
from reground.methods.chain_target import edit_query
from reground.methods.fitting import OnStep, completion_logits, drawn, fit_artifact, target_loss, unchanged
from reground.methods.serac.config import SeracFitConfig
from reground.methods.serac.editor import SeracEditor
from reground.methods.serac.parts import SeracParts, edit_prompt, stated
from reground.methods.serac.scope import hidden_states
from reground.methods.weight_edit import weights_of
from reground.models.base import Model, Query, probe_query
from reground.models.hf.adapter import HfModel

__all__ = ["SeracLearner", "fit_serac"]


def fit_serac(
    model: Model,
    data: FitData,
    config: SeracFitConfig,
    folder: Path,
    *,
    method: str,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Artifact:
    """Train SERAC for a model, and leave the artifact in ``folder``; see ``fitting.fit_artifact``.

    Raises:
        CapabilityError: No access to weights or hidden states, or the model takes no notes.
        InputError: Layers or modules that the model does not have, or nothing to learn from.
        ArtifactError: ``folder`` holds another training.
        ModelError: The training diverged.
    """
    local = weights_of(model, SeracEditor.needs, method)
    return fit_artifact(
        local, data, config, folder, lambda: SeracLearner(local, config), method=method, seed=seed, on_step=on_step
    )


class SeracLearner:
    """The losses of SERAC.

    The classifier is asked about every pair of an edit and a query of a batch. A query is in scope of its own edit if
    its answer follows from it (rewordings, other images, further facts), out of scope if it is a locality probe or
    asks for another edit's fact; those that take an edit further are not tried on other edits, since the way may
    lead through them. The counterfactual model learns to answer the queries in scope, the edit stated before them.

    Args:
        local: The model; never changed.
        config: Settings.

    Source:
        Mitchell et al., 2022, "Memory-Based Model Editing at Scale", equations 3 and 4. Differs: in and out of scope
        weigh the same, however many of each there are.
    """

    def __init__(self, local: HfModel, config: SeracFitConfig) -> None:
        self._local, self._config = local, config
        self.parts = SeracParts(local, config)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Classifier and difference, at one rate."""
        return [{"params": list(self.parts.parameters())}]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Classifier and difference."""
        return self.parts.tensors()

    def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
        """``scope`` of the batch, then ``answer`` of one edit after the other."""
        asked = [self._drawn(sample, rng) for sample in samples]
        yield {"scope": self._scope_loss([sample.edit for sample in samples], asked)}
        for sample, (inside, _) in zip(samples, asked, strict=True):
            yield {"answer": self._answer_loss(sample.edit, inside) / len(samples)}

    def _drawn(self, sample: FitSample, rng: random.Random) -> tuple[list[Probe], list[Probe]]:
        inside = [probe for probe in sample.probes if probe.expectation.kind == "answer"]
        return (
            drawn(inside, self._config.num_in_scope, rng),
            drawn(unchanged(sample), self._config.num_out_of_scope, rng),
        )

    def _scope_loss(self, edits: Sequence[Edit], asked: Sequence[tuple[list[Probe], list[Probe]]]) -> torch.Tensor:
        """Mean cross-entropy over pairs in scope, and over those out of scope, half of each."""
        queries: list[Query] = []
        rows: list[list[bool | None]] = []
        for own, (inside, outside) in enumerate(asked):
            here = [edit_query(edits[own]), *(probe_query(probe) for probe in (*inside, *outside))]
            kinds = ["generality", *(probe.kind for probe in inside), *("" for _ in outside)]
            for query, kind in zip(here, kinds, strict=True):
                elsewhere = None if kind == "portability" else False
                queries.append(query)
                rows.append([bool(kind) if edit == own else elsewhere for edit in range(len(edits))])
        odds_BN = self.parts.scope(self._encoded(queries), self._encoded([edit_prompt(edit) for edit in edits]))
        is_inside_BN = torch.tensor([[mark is True for mark in row] for row in rows], device=odds_BN.device)
        is_outside_BN = torch.tensor([[mark is False for mark in row] for row in rows], device=odds_BN.device)
        losses = [torch.nn.functional.softplus(-odds_BN[is_inside_BN]).mean()]
        if bool(is_outside_BN.any()):
            losses.append(torch.nn.functional.softplus(odds_BN[is_outside_BN]).mean())
        return sum(losses, torch.zeros((), device=odds_BN.device)) / len(losses)

    def _encoded(self, queries: Sequence[Query]) -> torch.Tensor:
        return self.parts.scope.encode(*hidden_states(self._local, queries, self._config.scope_layer))

    def _answer_loss(self, edit: Edit, inside: Sequence[Probe]) -> torch.Tensor:
        queries = [edit_query(edit), *(probe_query(probe) for probe in inside)]
        answers = [edit.new_answer.text, *(_answer(probe) for probe in inside)]
        batch = self._local.training_batch([stated(edit, query) for query in queries], answers, ends=self._config.ends)
        weights = self.parts.difference.weights()

        def counterfactual(**inputs: Any) -> Any:
            return functional_call(self._local.module, weights, args=(), kwargs=inputs)

        return target_loss(*completion_logits(counterfactual, batch))


def _answer(probe: Probe) -> str:
    answer = probe.expectation.answer
    assert answer is not None  # an expectation of this kind has one
    return answer.text
