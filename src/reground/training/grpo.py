"""Reinforcement of a policy with the Cognitive Routing Reward (``training.rewards``).

Each step draws prompts with cards, lets the policy write several chains for each, and raises the probability of those
that earn more than their group (GRPO; Shao et al., 2024, arXiv 2402.03300). The policy it started from is kept beside
it and held against it. Prompts and images go through the model's own processor, as trl has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from reground.edits.images import open_image
from reground.errors import InputError
from reground.models.hf.adapter import HfModel
from reground.models.prompts import prompt_text
from reground.training.phantom.policy_samples import PolicySample, PolicySetting, policy_sample
from reground.training.policy_card import PolicyCard
from reground.training.policy_model import adapted_paths, base_digest, left_as_found, new_adapter
from reground.training.policy_run import finished, require_trl, resume_from, trainer_settings, write_policy
from reground.training.policy_settings import GrpoRecipe, training_setting
from reground.training.rewards import TERMS, RewardWeights, format_term, reward

__all__ = ["train_grpo"]


#: Of so many steps one has questions without an image: processors want images in all prompts of a batch or in none.
_TEXT_EVERY = 3
#: Draws among which one with images and one without are sure to be.
_ATTEMPTS = 1000


@dataclass(frozen=True)
class _Samples:
    """The samples of the steps: those of one step all have images, or none of them has."""

    setting: PolicySetting
    seed: int
    num_prompts: int

    def at(self, index: int) -> PolicySample:
        """The sample at a position, always the same."""
        has_images = index // self.num_prompts % _TEXT_EVERY != _TEXT_EVERY - 1
        for attempt in count(index * _ATTEMPTS):
            sample = policy_sample(self.seed, attempt, self.setting)
            if bool(sample.sample.images) == has_images:
                return sample
        raise AssertionError("count() does not end")

    def prompts(self, columns: dict[str, list[int]]) -> dict[str, list[Any]]:
        """Conversations with their images."""
        queries = [self.at(index).query for index in columns["index"]]
        return {
            "index": columns["index"],
            "prompt": [[{"role": "user", "content": prompt_text(query)}] for query in queries],
            "images": [open_image(query.image) if query.image else [] for query in queries],
        }


@dataclass(frozen=True)
class _Judge:
    """The reward of each completion; means of its terms go to the curve."""

    model: HfModel
    samples: _Samples
    weights: RewardWeights
    __name__ = "cognitive_routing"

    def __call__(
        self,
        completion_ids: Sequence[Sequence[int]],
        index: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        cases = [self.samples.at(position).case for position in index]
        traces = [self.model.chat.written(ids).trace(self.model.delimiters) for ids in completion_ids]
        pairs = list(zip(traces, cases, strict=True))
        for name, term in {"format": format_term, **TERMS}.items():
            log_metric(f"terms/{name}", sum(term(trace, case) for trace, case in pairs) / len(pairs))
        return [reward(trace, case, self.weights) for trace, case in pairs]


def train_grpo(recipe: GrpoRecipe, model: HfModel, folder: Path, policy: Path | None = None) -> PolicyCard:
    """Train (or go on training) a policy and write it to ``folder``; the model is left as it was.

    Args:
        recipe: How to train.
        model: The unedited model.
        folder: As in ``train_sft``.
        policy: Folder of the policy to start from; None: the one that the recipe names, or a new adapter if it has a
            rank.

    Returns:
        The policy's card.

    Raises:
        MissingExtraError: trl is not installed.
        InputError: No policy to start from, or one for a recipe that begins a new adapter.
        ArtifactError: The policy to start from cannot be read.
        RunDirectoryError: The folder holds a training by another recipe.
    """
    trl = require_trl()
    start = policy or (Path(recipe.policy) if recipe.policy else None)
    if start is not None and recipe.rank is not None:
        raise InputError(
            f"the recipe {recipe.name!r} begins a new adapter; the policy at {str(start)!r} was to be gone on with.",
            "one of the two",
            "leave out --policy, or train it by a recipe without rank and alpha, e.g. crane-grpo.",
        )
    if start is None and recipe.rank is None:
        raise InputError(
            f"the recipe {recipe.name!r} was to be trained from no policy.",
            "a folder that `reground train sft` wrote",
            "run `reground train sft crane-sft --out DIR`, then give --policy DIR.",
        )
    before = PolicyCard.read(start) if start is not None else None
    done = finished(folder, recipe)
    if done is not None:
        return done
    from datasets import Dataset
    from peft import PeftModel

    paths = adapted_paths(model)
    base = base_digest(model, paths)
    samples = _Samples(training_setting(recipe, always_thinks=True), recipe.seed + 1, recipe.num_prompts)
    num_samples = recipe.num_steps * recipe.num_prompts
    started = time.monotonic()
    with left_as_found(model):
        if recipe.rank is not None and recipe.alpha is not None:
            begun = {"model": model.module, "peft_config": new_adapter(paths, recipe.rank, recipe.alpha)}
        else:
            begun = {"model": PeftModel.from_pretrained(model.module, str(start), is_trainable=True)}
        trainer = trl.GRPOTrainer(
            **begun,
            args=trl.GRPOConfig(
                **trainer_settings(recipe, model, folder),
                per_device_train_batch_size=recipe.num_prompts * recipe.num_generations,
                num_generations=recipe.num_generations,
                max_completion_length=recipe.max_new_tokens,
                temperature=recipe.temperature,
                beta=recipe.beta,
                shuffle_dataset=False,
            ),
            processing_class=model.processor,
            reward_funcs=[_Judge(model, samples, recipe.reward)],
            train_dataset=Dataset.from_dict({"index": range(num_samples)}).with_transform(samples.prompts),
        )
        trainer.train(resume_from_checkpoint=resume_from(folder))
        return write_policy(
            folder,
            recipe,
            "grpo",
            model,
            trainer,
            base=base,
            num_samples=num_samples,
            wall_s=time.monotonic() - started,
            started_from=before,
            weights=recipe.reward,
        )
