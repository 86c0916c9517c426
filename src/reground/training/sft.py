"""Supervised training of a policy: a low-rank adapter learns to write the right chain beside a card.

Samples come from ``training.phantom.policy_samples``, each drawn when its step comes. Every image passes the tower
once; prompts enter the text model as embeddings (``HfModel.training_batch``). Samples without a card keep what the
model knows from being forgotten.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from reground.models.hf.adapter import HfModel
from reground.training.phantom.policy_samples import PolicySample, PolicySetting, policy_sample
from reground.training.policy_card import PolicyCard
from reground.training.policy_model import adapted_paths, base_digest, left_as_found, new_adapter
from reground.training.policy_run import finished, require_trl, resume_from, trainer_settings, write_policy
from reground.training.policy_settings import SftRecipe, training_setting
from reground.training.rehearsal import rehearsed_samples

__all__ = ["train_sft"]


#: Steps whose samples are drawn together and put into batches of like length.
_STEPS_TOGETHER = 8


@dataclass(frozen=True)
class _Batches:
    """From a step to its batch; it depends on the recipe, the unedited model and the step alone.

    Attributes:
        model: What is trained.
        setting: Where samples come from.
        seed: Of their sequence.
        batch_size: Samples a step.
        rehearsed: What the unedited model says of invented names.
        rehearsal_share: Share of the samples that are among those.
    """

    model: HfModel
    setting: PolicySetting
    seed: int
    batch_size: int
    rehearsed: Sequence[PolicySample] = ()
    rehearsal_share: float = 0.0
    _latest: dict[int, list[PolicySample]] = field(default_factory=dict)

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, torch.Tensor]:
        samples = [one for row in rows for one in self._samples(row["step"])]
        marks = self.model.delimiters
        completions = []
        for one in samples:
            opening = "" if marks.template_opens_chain else marks.chain_open
            chain = opening + one.sample.chain + marks.chain_close
            answer = (marks.answer_open or "") + one.sample.answer + (marks.answer_close or "")
            completions.append((chain if one.sample.is_thinking else "") + answer)
        return self.model.training_batch([one.query for one in samples], completions)

    def _samples(self, step: int) -> list[PolicySample]:
        group, place = divmod(step, _STEPS_TOGETHER)
        drawn = self._drawn(group)
        order = random.Random(f"batches/{self.seed}/{group}").sample(range(_STEPS_TOGETHER), _STEPS_TOGETHER)
        start = order[place] * self.batch_size
        return drawn[start : start + self.batch_size]

    def _drawn(self, group: int) -> list[PolicySample]:
        """The samples of the steps of a group, the shortest first; those of the last group asked for are kept."""
        if group not in self._latest:
            count = _STEPS_TOGETHER * self.batch_size
            drawn = [self._sample(group * count + position) for position in range(count)]
            self._latest.clear()
            self._latest[group] = sorted(drawn, key=_length)
        return self._latest[group]

    def _sample(self, index: int) -> PolicySample:
        rng = random.Random(f"rehearsal/{self.seed}/{index}")
        if rng.random() < self.rehearsal_share:
            return rng.choice(self.rehearsed)
        return policy_sample(self.seed, index, self.setting)


def _length(one: PolicySample) -> int:
    """About how long a sample is, in characters; an image counts for as many tokens as it takes here."""
    s = one.sample
    return len(s.question) + len(s.note or "") + len(s.chain) + 60 * len(s.images) + sum(map(len, s.options))


def train_sft(recipe: SftRecipe, model: HfModel, folder: Path) -> PolicyCard:
    """Train (or go on training) an adapter and write it to ``folder``; the model is left as it was.

    Args:
        recipe: How to train.
        model: The unedited model.
        folder: Checkpoints, then ``adapter_config.json``, ``adapter_model.safetensors``, ``policy.json`` and
            ``curve.jsonl``.

    Returns:
        The policy's card.

    Raises:
        MissingExtraError: trl is not installed.
        ModelError: The recipe rehearses, and nothing that the model says can be.
        RunDirectoryError: The folder holds a training by another recipe.
    """
    trl = require_trl()
    done = finished(folder, recipe)
    if done is not None:
        return done
    from datasets import Dataset

    paths = adapted_paths(model)
    base = base_digest(model, paths)
    started = time.monotonic()
    batches = _batches(recipe, model)
    with left_as_found(model):
        trainer = trl.SFTTrainer(
            model=model.module,
            args=trl.SFTConfig(
                **trainer_settings(recipe, model, folder),
                per_device_train_batch_size=1,
                train_sampling_strategy="sequential",
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            processing_class=model.processor,
            train_dataset=Dataset.from_dict({"step": range(recipe.num_steps)}),
            data_collator=batches,
            peft_config=new_adapter(paths, recipe.rank, recipe.alpha),
        )
        trainer.train(resume_from_checkpoint=resume_from(folder))
        return write_policy(
            folder,
            recipe,
            "sft",
            model,
            trainer,
            base=base,
            num_samples=recipe.num_steps * recipe.batch_size,
            wall_s=time.monotonic() - started,
        )


def _batches(recipe: SftRecipe, model: HfModel) -> _Batches:
    setting = training_setting(recipe)
    rehearsed = (
        rehearsed_samples(model, recipe.num_rehearsed, recipe.seed, setting) if recipe.rehearsal_share > 0 else []
    )
    return _Batches(model, setting, recipe.seed, recipe.batch_size, rehearsed, recipe.rehearsal_share)
