"""The training of MEND: that an edit holds for its rewordings, and changes nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call

from reground.edits.records import Edit, Probe
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
from reground.methods.mend.config import MendFitConfig
from reground.methods.mend.editor import MendEditor
from reground.methods.mend.layers import Factors, edited_layers, gradient_factors
from reground.methods.mend.transform import MendTransform
from reground.methods.weight_edit import weights_of
from reground.models.base import Model, probe_query
from reground.models.hf.adapter import HfModel

__all__ = ["MendLearner", "fit_mend"]

#: Edits whose gradients give the means and deviations: some ten thousand tokens.
_NUM_MEASURED = 128


def fit_mend(
    model: Model,
    data: FitData,
    config: MendFitConfig,
    folder: Path,
    *,
    method: str,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Artifact:
    """Train MEND for a model, and leave the artifact in ``folder``; see ``fitting.fit_artifact``.

    Raises:
        CapabilityError: No access to weights, or a chain is wanted from a model that writes none.
        InputError: Layers or modules that the model does not have, or nothing to learn from.
        ArtifactError: ``folder`` holds another training.
        ModelError: The training diverged.
    """
    local = weights_of(model, MendEditor.needs, method)
    layers = edited_layers(local, config.layers, config.modules)

    def make_learner() -> MendLearner:
        own = OwnOutputs(local, folder, config.max_new_tokens)
        return MendLearner(local, layers, data, config, own, method=method, on_step=on_step)

    return fit_artifact(local, data, config, folder, make_learner, method=method, seed=seed, on_step=on_step)


class MendLearner:
    """The losses of MEND.

    For each edit of a batch: its gradient by the unedited weights becomes an update. The loss is the negative
    log-likelihood of the target after questions about the fact, under the updated weights, and the divergence of what
    the updated model predicts along the unedited model's own outputs to locality probes.

    Args:
        local: The model; never changed, the updated weights are only lent to a pass.
        layers: What is edited.
        data: For the means and deviations, and for what the unedited model has to be asked beforehand.
        config: Settings.
        own: What the unedited model writes.
        method: Registered name, for messages.
        on_step: Told of the progress.

    Source:
        Mitchell et al., 2022, "Fast Model Editing at Scale", algorithm 1 and equation 4. Differs: locality is taken
        along the model's own output, chain included, instead of a reference answer.
    """

    def __init__(
        self,
        local: HfModel,
        layers: Mapping[str, torch.nn.Linear],
        data: FitData,
        config: MendFitConfig,
        own: OwnOutputs,
        *,
        method: str,
        on_step: OnStep | None = None,
    ) -> None:
        self._local, self._layers, self._config, self._own = local, layers, config, own
        samples = (*data.training, *data.validation)
        own.ask([probe_query(probe) for sample in samples for probe in unchanged(sample)], on_step)
        self._targets = fact_targets(
            local, samples, config.target, max_chain_tokens=config.max_new_tokens, method_name=method
        )
        self.transform = MendTransform(layers, rank=config.rank, step_size=config.step_size)
        self.transform.measure(self._gradient(sample.edit) for sample in data.training[:_NUM_MEASURED])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Networks, and step sizes with a rate of their own."""
        return [
            {"params": list(self.transform.networks.parameters())},
            {"params": [self.transform.step_sizes], "lr": self._config.step_learning_rate},
        ]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, their means and deviations, and step sizes."""
        return self.transform.tensors()

    def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
        """``edit`` and ``locality`` of one edit after the other."""
        for sample in samples:
            updates = self.transform.updates([self._gradient(sample.edit)])
            edited = self._edited(updates)
            parts = {"edit": self._config.edit_weight * self._edit_loss(edited, sample, rng)}
            kept = [probe for probe in unchanged(sample) if probe_query(probe) in self._own]
            if probes := drawn(kept, self._config.num_locality, rng):
                parts["locality"] = self._locality_loss(edited, probes)
            yield {name: value / len(samples) for name, value in parts.items()}

    def _edit_loss(self, edited: Callable[..., Any], sample: FitSample, rng: random.Random) -> torch.Tensor:
        reworded = drawn(same_fact(sample), self._config.num_in_scope - 1, rng)
        queries = [edit_query(sample.edit), *(probe_query(probe) for probe in reworded)]
        targets = [self._targets[sample.edit.id], *(self._targets[probe.id] for probe in reworded)]
        batch = self._local.training_batch(queries, targets, ends=self._config.ends)
        return target_loss(*completion_logits(edited, batch))

    def _locality_loss(self, edited: Callable[..., Any], probes: Sequence[Probe]) -> torch.Tensor:
        queries = [probe_query(probe) for probe in probes]
        batch = self._local.training_batch(queries, [self._own[query] for query in queries], ends=True)
        with torch.no_grad():
            before_KV, _ = completion_logits(self._local.module, batch)
        after_KV, _ = completion_logits(edited, batch)
        return divergence(before_KV, after_KV)

    def _edited(self, updates: Mapping[str, torch.Tensor]) -> Callable[..., Any]:
        """The model with its weights updated, to be called like the model; gradients reach the updates."""
        weights = {
            f"{path}.weight": (self._layers[path].weight.float() - update_OI).to(self._layers[path].weight.dtype)
            for path, update_OI in updates.items()
        }

        def call(**inputs: Any) -> Any:
            return functional_call(self._local.module, weights, args=(), kwargs=inputs)

        return call

    def _gradient(self, edit: Edit) -> dict[str, Factors]:
        return gradient_factors(
            self._local, self._layers, edit_query(edit), self._targets[edit.id], ends=self._config.ends
        )
