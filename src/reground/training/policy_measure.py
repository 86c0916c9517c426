"""How a policy deals with each kind of sample, on subjects it was not trained on."""

from __future__ import annotations

import random

from reground.models.base import Model
from reground.training.phantom.policy_samples import POLICY_KINDS, draw_policy_sample
from reground.training.policy_card import KindScore
from reground.training.policy_settings import measured_setting
from reground.training.rewards import TERMS, RewardWeights, format_term, reward

__all__ = ["measure_policy"]

_MAX_NEW_TOKENS = 128


def measure_policy(
    model: Model, num_samples: int, weights: RewardWeights | None = None, *, seed: int = 7
) -> tuple[KindScore, ...]:
    """Reward and its terms by kind, greedily, cards stated as they are in training.

    Args:
        model: The model with its policy in force.
        num_samples: Of each kind.
        weights: Of the reward's terms.
        seed: Of the samples.
    """
    setting, scores = measured_setting(), []
    for kind in POLICY_KINDS:
        rng = random.Random(f"policy/measure/{kind}/{seed}")
        drawn = [draw_policy_sample(kind, setting, rng) for _ in range(num_samples)]
        outputs = model.generate([one.query for one in drawn], max_new_tokens=_MAX_NEW_TOKENS)
        traces = [output.trace(model.delimiters) for (output,) in outputs]
        pairs = list(zip(traces, (one.case for one in drawn), strict=True))
        terms = {
            name: sum(term(trace, case) for trace, case in pairs) / num_samples
            for name, term in {"format": format_term, **TERMS}.items()
        }
        mean = sum(reward(trace, case, weights) for trace, case in pairs) / num_samples
        scores.append(KindScore(kind=kind, n=num_samples, reward=mean, terms=terms))
    return tuple(scores)
