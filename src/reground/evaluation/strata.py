"""What a model believed before an edit, and the stratum that puts the edit in."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reground.edits.records import Answer, Edit, Record, Trace
from reground.evaluation.matching import matches, normalise, same_answer

__all__ = ["STRATA", "Belief", "Stratum", "strata_of", "stratum"]

#: The four strata an edit can be in for one model.
Stratum = Literal["unknown", "agrees", "conflicts-weak", "conflicts-strong"]

#: Strata as scores name them: every edit, the four, and both conflict strata together.
STRATA: tuple[str, ...] = ("all", "unknown", "agrees", "conflicts-weak", "conflicts-strong", "conflict")

_NEW = "\0new"
_PRIOR = "\0prior"


class Belief(Record):
    """What one unedited model answered to one edit's question when asked k times.

    Attributes:
        edit_id: The edit.
        model: Name of the model.
        answers: The k sampled outputs, parsed. One that is not ``answered`` counts as no answer, and stays in k.
        k: Number of samples; equals ``len(answers)``.
        temperature: Sampling temperature.
        seed: Seed of the sampling.
    """

    edit_id: str
    model: str
    answers: Annotated[tuple[Trace, ...], Field(min_length=1)]
    k: int = Field(ge=1)
    temperature: float = Field(ge=0)
    seed: int

    @model_validator(mode="after")
    def _k_counts_the_answers(self) -> Self:
        if self.k != len(self.answers):
            raise ValueError(f"k is {self.k}, but {len(self.answers)} answers are given")
        return self


def stratum(belief: Belief, edit: Edit) -> Stratum:
    """The stratum of an edit for the model whose belief is given.

    Answers are grouped: those that give the new answer, those that give the prior answer, and the rest by normalised
    text. The largest group decides. It must reach half of all k samples, else the model holds no belief (``unknown``).
    If it is the new answer, the model ``agrees``. If it is another, the edit conflicts: strongly when nine tenths of
    the samples or more say so, else weakly. When the new answer and another share the lead, the model does not yet
    hold the new answer, and the conflict is weak.
    """
    groups = Counter(_group(trace.answer, edit) for trace in belief.answers if trace.answer is not None)
    largest = max(groups.values(), default=0)
    if 2 * largest < belief.k:
        return "unknown"
    leaders = {group for group, size in groups.items() if size == largest}
    if leaders == {_NEW}:
        return "agrees"
    return "conflicts-strong" if 10 * largest >= 9 * belief.k else "conflicts-weak"


def strata_of(edit_stratum: Stratum | None) -> tuple[str, ...]:
    """Every stratum an edit's scores are filed under: ``all``, its own, and ``conflict`` where it applies.

    Args:
        edit_stratum: None where no belief was sampled; then the edit counts under ``all`` only.
    """
    if edit_stratum is None:
        return ("all",)
    if edit_stratum in ("conflicts-weak", "conflicts-strong"):
        return ("all", edit_stratum, "conflict")
    return ("all", edit_stratum)


def _group(answer: str, edit: Edit) -> str:
    """The key of an answer's group. An exact answer settles it; one that names both sides is neither."""
    for key, gold in ((_NEW, edit.new_answer), (_PRIOR, edit.prior_answer)):
        if gold is not None and _equals(answer, gold, edit.options):
            return key
    is_new = matches(answer, edit.new_answer, edit.options)
    is_prior = edit.prior_answer is not None and matches(answer, edit.prior_answer, edit.options)
    if is_new != is_prior:
        return _NEW if is_new else _PRIOR
    return normalise(answer)


def _equals(answer: str, gold: Answer, options: tuple[str, ...]) -> bool:
    return any(same_answer(answer, spelling, options) for spelling in gold.spellings)
