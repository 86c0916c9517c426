"""The training of LiveEdit: experts that bring about their edit and nothing else, and a router that tells them apart.

Axes: B queries, N edits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from reground.edits.records import Probe
from reground.methods.artifact import Artifact, FitData, FitSample
from reground.methods.chain_target import edit_query
from reground.methods.fitting import (
    OnStep,
    OwnOutputs,
    completion_logits,
    divergence,
    drawn,
    fact_targets,
    fit_artifact,
    same_fact,
    target_loss,
    unchanged,
)
from reground.methods.liveedit.config import LiveEditFitConfig
from reground.methods.liveedit.editor import LiveEditEditor, expert_layer, experts_of, new_parts, prompts_in
from reground.methods.liveedit.experts import AttachedExperts, at_work
from reground.methods.liveedit.parts import Experts, Prompts, overlap
from reground.methods.weight_edit import weights_of
from reground.models.base import Model, Query, probe_query
from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["LiveEditLearner", "fit_liveedit"]


def fit_liveedit(
    model: Model,
    data: FitData,
    config: LiveEditFitConfig,
    folder: Path,
    *,
    method: str,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Artifact:
    """Train LiveEdit for a model, and leave the artifact in ``folder``; see ``fitting.fit_artifact``.

    Raises:
        CapabilityError: No access to weights or hidden states, or a chain is wanted from a model that writes none.
        InputError: A layer that the model does not have, or nothing to learn from.
        ArtifactError: ``folder`` holds another training.
        ModelError: The training diverged.
    """
    local = weights_of(model, LiveEditEditor.needs, method)

    def make_learner() -> LiveEditLearner:
        own = OwnOutputs(local, folder, config.max_new_tokens)
        return LiveEditLearner(local, data, config, own, method=method, on_step=on_step)

    return fit_artifact(local, data, config, folder, make_learner, method=method, seed=seed, on_step=on_step)


class LiveEditLearner:
    """The losses of LiveEdit.

    Args:
        local: The model; never changed, experts are only hooked on for a pass.
        data: For what the unedited model has to be asked beforehand.
        config: Settings.
        own: What the unedited model writes.
        method: Registered name, for messages.
        on_step: Told of the progress.

    Source:
        Chen et al., 2025, "Lifelong Knowledge Editing for Vision Language Models with Low-Rank Mixture-of-Experts".
        Differs: see docs/methods/liveedit.md.
    """

    def __init__(
        self,
        local: HfModel,
        data: FitData,
        config: LiveEditFitConfig,
        own: OwnOutputs,
        *,
        method: str,
        on_step: OnStep | None = None,
    ) -> None:
        self._local, self._config, self._own = local, config, own
        self._layer = expert_layer(local, config)
        self.parts = new_parts(local, config)
        samples = (*data.training, *data.validation)
        own.ask([probe_query(probe) for sample in samples for probe in unchanged(sample)], on_step)
        self._targets = fact_targets(
            local, samples, config.target, max_chain_tokens=config.max_new_tokens, method_name=method
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything, at one rate."""
        return [{"params": list(self.parts.parameters())}]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything."""
        return self.parts.tensors()

    def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
        """``edit``, ``locality``, ``asked`` and ``seen`` of the batch together: all of its experts compete."""
        edits = [sample.edit for sample in samples]
        experts = experts_of(self._local, self.parts, self._config, edits, [self._targets[edit.id] for edit in edits])
        inside = [
            (own, edit_query(sample.edit), self._targets[sample.edit.id]) for own, sample in enumerate(samples)
        ] + [
            (own, probe_query(probe), self._targets[probe.id])
            for own, sample in enumerate(samples)
            for probe in drawn(same_fact(sample), self._config.num_in_scope - 1, rng)
        ]
        outside = [
            (own, probe)
            for own, sample in enumerate(samples)
            for probe in drawn(
                [probe for probe in unchanged(sample) if probe_query(probe) in self._own],
                self._config.num_locality,
                rng,
            )
        ]
        parts = {"edit": self._edit_loss(experts, inside, rng)}
        if outside:
            parts["locality"] = self._locality_loss(experts, [probe for _, probe in outside], rng)
        weight = self._config.routing_weight
        for name, loss in self._routing_losses(experts, [(own, query) for own, query, _ in inside], outside).items():
            parts[name] = weight * loss
        yield parts

    def _edit_loss(
        self, experts: Experts, inside: Sequence[tuple[int, Query, str]], rng: random.Random
    ) -> torch.Tensor:
        owns, queries, targets = zip(*inside, strict=True)
        batch = self._local.training_batch(queries, targets, ends=self._config.ends)
        is_kept_BN = _random_rivals(len(queries), len(experts.down_NRH), rng)
        is_kept_BN[range(len(queries)), owns] = True
        return target_loss(*self._edited_logits(experts, queries, batch, is_kept_BN))

    def _locality_loss(self, experts: Experts, probes: Sequence[Probe], rng: random.Random) -> torch.Tensor:
        queries = [probe_query(probe) for probe in probes]
        batch = self._local.training_batch(queries, [self._own[query] for query in queries], ends=True)
        with torch.no_grad():
            before_KV, _ = completion_logits(self._local.module, batch)
        is_kept_BN = _random_rivals(len(queries), len(experts.down_NRH), rng)
        after_KV, _ = self._edited_logits(experts, queries, batch, is_kept_BN)
        return divergence(before_KV, after_KV)

    def _edited_logits(
        self, experts: Experts, queries: Sequence[Query], batch: dict[str, torch.Tensor], is_kept_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        prompt_BT = prompt_tokens(batch)
        attached = AttachedExperts(
            self._local, self._layer, self.parts.router, experts, is_kept_BN=is_kept_BN.to(prompt_BT.device)
        )
        with at_work(attached), self._local.passing(prompt_BT, self._local.image_tokens(queries, prompt_BT)):
            return completion_logits(self._local.module, batch)

    def _routing_losses(
        self,
        experts: Experts,
        inside: Sequence[tuple[int, Query]],
        outside: Sequence[tuple[int, Probe]],
    ) -> dict[str, torch.Tensor]:
        """How badly questions and images find their edit, and how near others come.

        ``asked``: a question in scope should be nearest to its own edit, and near by itself; one out of scope far, and
        so should be one in scope from the next edit of the batch. Of image locality the question is the edit's own
        and says nothing. ``seen``: an image in scope should be nearest to its own edit's, one of image locality to
        the sentinel.
        """
        owns = torch.tensor([own for own, _ in inside], device=experts.asked_NQM.device)
        prompts = self._prompts([query for _, query in inside])
        asked_BN = overlap(self.parts.router.reader.asked(prompts), experts.asked_NQM)
        others = [(own, probe) for own, probe in outside if probe.kind != "image_locality"]
        losses = [functional.cross_entropy(asked_BN, owns), functional.softplus(-_at(asked_BN, owns)).mean()]
        if len(experts.asked_NQM) > 1:
            losses.append(functional.softplus(_at(asked_BN, (owns + 1) % len(experts.asked_NQM))).mean())
        if others:
            asked = self.parts.router.reader.asked(self._prompts([probe_query(probe) for _, probe in others]))
            far_BN = overlap(asked, experts.asked_NQM)
            losses.append(functional.softplus(_at(far_BN, [own for own, _ in others])).mean())
        found = {"asked": sum(losses[1:], losses[0])}
        seen = self._seen_losses(experts, inside, [probe for _, probe in outside if probe.kind == "image_locality"])
        return found | ({"seen": sum(seen[1:], seen[0])} if seen else {})

    def _seen_losses(
        self, experts: Experts, inside: Sequence[tuple[int, Query]], others: Sequence[Probe]
    ) -> list[torch.Tensor]:
        seen = [own for own, query in inside if query.image is not None and bool(experts.has_image_N[own])]
        queries = [query for own, query in inside if query.image is not None and bool(experts.has_image_N[own])]
        shown = [probe_query(probe) for probe in others if probe.image is not None]
        if not seen or not bool(experts.has_image_N.any()):
            return []
        to_edits_BN, to_sentinel_B = self.parts.router.seen_overlaps(
            self._prompts([*queries, *shown]), experts.seen_NQM
        )
        to_edits_BN = to_edits_BN.masked_fill(~experts.has_image_N, -torch.inf)
        rivals = torch.cat([to_edits_BN, to_sentinel_B[:, None]], dim=1)
        sentinel = rivals.shape[1] - 1
        losses = [functional.cross_entropy(rivals[: len(seen)], torch.tensor(seen, device=rivals.device))]
        if shown:
            wanted = torch.full((len(shown),), sentinel, device=rivals.device)
            losses.append(functional.cross_entropy(rivals[len(seen) :], wanted))
        return losses

    def _prompts(self, queries: Sequence[Query]) -> Prompts:
        return prompts_in(self._local, self._local.prompt_batch(queries), queries, self._layer)


def _at(values_BN: torch.Tensor, columns: Sequence[int] | torch.Tensor) -> torch.Tensor:
    columns_B = torch.as_tensor(columns, device=values_BN.device)
    return values_BN[torch.arange(len(values_BN), device=values_BN.device), columns_B]


def _random_rivals(num_rows: int, num_edits: int, rng: random.Random) -> torch.Tensor:
    """For each row (BN) the first few experts, any number of them, as if their images had been taken for its own."""
    counts_B = torch.tensor([rng.randint(0, num_edits) for _ in range(num_rows)])
    return torch.arange(num_edits)[None] < counts_B[:, None]
