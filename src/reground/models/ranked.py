"""Teacher-forced scores from what a server or an engine tells of each place in a prompt that it was fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reground.models.base import NUM_TOP_TOKENS, TargetScore

__all__ = ["RankedToken", "ranked_score"]


@dataclass(frozen=True)
class RankedToken:
    """A token that could stand at a place.

    Attributes:
        log_prob: Its log-probability there, natural logarithm.
        rank: 1 for the most likely.
        text: What it reads as by itself; empty where that does not matter.
    """

    log_prob: float
    rank: int
    text: str = ""


def ranked_score(target_ids: Sequence[int], places: Sequence[Mapping[int, RankedToken]]) -> TargetScore:
    """The score of a target.

    Args:
        target_ids: Ids of its tokens; at least one.
        places: For each of them, the tokens that could stand there by id: itself and the most likely ones.

    Raises:
        ValueError: A place leaves out the target's token or the most likely one.
    """
    rankings = [sorted(place, key=lambda token: place[token].rank)[:NUM_TOP_TOKENS] for place in places]
    for position, (token, place, ranking) in enumerate(zip(target_ids, places, rankings, strict=True)):
        if token not in place:
            raise ValueError(f"token {token}, the target's {position + 1}., is left out")
        if place[ranking[0]].rank != 1:
            raise ValueError(f"the most likely token in the place of the target's {position + 1}. is left out")
    num_top = sum(token == ranking[0] for token, ranking in zip(target_ids, rankings, strict=True))
    return TargetScore(
        top1_share=num_top / len(target_ids),
        log_prob=sum(place[token].log_prob for token, place in zip(target_ids, places, strict=True)),
        num_tokens=len(target_ids),
        target_ids=tuple(target_ids),
        top_ids=tuple(map(tuple, rankings)),
    )
