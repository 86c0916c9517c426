"""What became of one probe that expects a new answer: its scores at three depths, and one failure label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from reground.edits.records import Answer, Edit, Probe, TraceOutcome
from reground.evaluation.matching import in_words, matches, names, normalise, same_answer, token_f1
from reground.evaluation.stance import Stance, StanceReader

__all__ = [
    "COLLAPSED_OUTCOMES",
    "LABELS",
    "NO_CHAIN",
    "NO_REFERENCE",
    "NO_ROW",
    "Judgement",
    "Label",
    "Measure",
    "ReadOutput",
    "Unscored",
    "Written",
    "judge_probe",
    "prior_of",
]

#: The exclusive labels of a probe that expects a new answer.
Label = Literal["grounded", "collapse", "dissonance_explicit", "dissonance_implicit", "ignored", "wrong"]

LABELS: tuple[Label, ...] = (
    "grounded",
    "collapse",
    "dissonance_explicit",
    "dissonance_implicit",
    "ignored",
    "wrong",
)
COLLAPSED_OUTCOMES: tuple[TraceOutcome, ...] = ("no_answer", "broken_format", "degenerate", "truncated")

NO_CHAIN = "the model writes no chain by design"
NO_REFERENCE = "no output of the unedited model is recorded"
NO_ROW = "no output of the edited model is recorded"
_NO_TF = "no teacher-forced score is recorded: method or model cannot score a given text"
_NO_INTERMEDIATES = "the probe lists no intermediate entity"
_NOT_ANSWERED = "the edited model did not answer"
_NO_CHAIN_PAIR = "no chain to measure before or after the edit"


@dataclass(frozen=True)
class Unscored:
    """In place of a number: why there is none."""

    reason: str


class ReadOutput(Protocol):
    """An output as it was read: what judging needs of a trace."""

    @property
    def outcome(self) -> TraceOutcome: ...

    @property
    def chain(self) -> str | None: ...

    @property
    def answer(self) -> str | None: ...


class Written(Protocol):
    """What a row says of one output."""

    @property
    def trace(self) -> ReadOutput | None: ...

    @property
    def tf(self) -> float | None: ...


#: A number, or the reason there is none.
Measure = float | Unscored


@dataclass(frozen=True)
class Judgement:
    """Everything that is read off one probe that expects a new answer.

    Attributes:
        tf: Teacher-forced share of target tokens (depth 0).
        answer: 1 if the generated answer matches (depth 1), else 0; 0 also if there is none.
        token_f1: Token overlap of the generated answer with the nearest spelling; 0 if there is none.
        grounded: 1 if the answer matches and the chain carries the new fact (depth 2), else 0.
        label: The exclusive label.
        outcome: Outcome of the edited model's trace; None if there is no trace.
        collapse: 1 if the unedited model answered and the edited one did not, else 0.
        intermediate_usage: 1 if the chain names every intermediate entity, else 0; for answered probes.
        hop_accuracy: 1 if the chain names every intermediate entity and the answer matches, else 0.
        chain_length_ratio: Words of the chain after the edit, divided by those before it.
        stance: What the chain says about the edited fact; None where no chain was read.
    """

    tf: Measure
    answer: Measure
    token_f1: Measure
    grounded: Measure
    label: Label | Unscored
    outcome: TraceOutcome | None
    collapse: Measure
    intermediate_usage: Measure
    hop_accuracy: Measure
    chain_length_ratio: Measure
    stance: Stance | None

    @classmethod
    def unscored(cls, reason: str) -> Judgement:
        """The judgement of a probe about which nothing can be said."""
        why = Unscored(reason)
        return cls(why, why, why, why, why, None, why, why, why, why, None)


def prior_of(edit: Edit, exact_before: ReadOutput | None = None) -> Answer | None:
    """What counts as the prior when a chain is read for its stance.

    The edit's own prior answer; where the data names none, what the unedited model answered to the edit's own
    question, unless that already is the new answer.

    Args:
        edit: The edit.
        exact_before: The unedited model's trace on the edit's exact probe, if recorded.
    """
    if edit.prior_answer is not None:
        return in_words(edit.prior_answer, edit.options)
    said = exact_before.answer if exact_before is not None else None
    if said is None or not said.strip() or matches(said, edit.new_answer, edit.options):
        return None
    return Answer(text=said)


def judge_probe(
    edit: Edit,
    probe: Probe,
    before: Written | None,
    after: Written,
    reader: StanceReader,
    prior: Answer | None = None,
) -> Judgement:
    """The judgement of one probe that expects a new answer; ``docs/protocol.md`` gives every rule.

    Args:
        edit: The edit in force.
        probe: A reliability, generality or portability probe of it.
        before: The unedited model's row for the same probe, if recorded.
        after: The edited model's row.
        reader: Reads what the chain says about the edited fact.
        prior: See ``prior_of``.
    """
    trace = after.trace
    if trace is None:
        return Judgement.unscored(NO_ROW)
    gold = _expected(probe)
    reference = before.trace if before is not None else None
    answer_ok = trace.answer is not None and matches(trace.answer, gold, probe.options)
    chain = trace.chain or ""
    writes_chain = _writes_chain(reference, trace)
    named_all = all(names(chain, entity) for entity in probe.intermediates)
    stance = None
    if trace.outcome == "answered" and chain.strip():
        new = in_words(edit.new_answer, edit.options)
        stance = reader.read(chain, new=new, prior=prior, question=edit.question)
    is_grounded = (
        answer_ok
        and named_all
        and names(chain, gold, probe.options)
        and not (stance is not None and stance.label in ("rejects", "reverts"))
    )
    label: Label | Unscored
    if trace.outcome != "answered":
        label = Unscored(NO_REFERENCE) if reference is None else _unanswered_label(reference)
    elif not writes_chain:
        label = Unscored(NO_CHAIN)
    elif is_grounded:
        label = "grounded"
    else:
        label = _failure_label(edit, probe, trace, reference, stance, prior, answer_ok)
    return Judgement(
        tf=Unscored(_NO_TF) if after.tf is None else after.tf,
        answer=float(answer_ok),
        token_f1=0.0 if trace.answer is None else token_f1(trace.answer, gold),
        grounded=float(is_grounded) if writes_chain else Unscored(NO_CHAIN),
        label=label,
        outcome=trace.outcome,
        collapse=_collapse(reference, trace),
        intermediate_usage=_intermediate_usage(probe, trace, writes_chain, named_all),
        hop_accuracy=_hop_accuracy(probe, writes_chain, named_all and answer_ok),
        chain_length_ratio=_chain_length_ratio(reference, trace),
        stance=stance,
    )


def _expected(probe: Probe) -> Answer:
    assert probe.expectation.answer is not None, "judge_probe is for probes that expect an answer"
    return probe.expectation.answer


def _writes_chain(reference: ReadOutput | None, trace: ReadOutput) -> bool:
    """False only if the model answers without a chain by design: then its absence says nothing.

    A model whose unedited outputs carry a chain, be it one that never ended, and whose edited outputs do not has
    lost it to the edit.
    """
    if trace.chain:
        return True
    if reference is not None and (reference.chain or reference.outcome == "answered"):
        return bool(reference.chain)
    return trace.outcome != "answered"


def _unanswered_label(reference: ReadOutput) -> Label:
    return "collapse" if reference.outcome == "answered" else "wrong"


def _failure_label(
    edit: Edit,
    probe: Probe,
    trace: ReadOutput,
    reference: ReadOutput | None,
    stance: Stance | None,
    prior: Answer | None,
    answer_ok: bool,
) -> Label:
    """The label of an answered probe that is not grounded. The first rule that fits decides."""
    said, chain = trace.answer or "", trace.chain or ""
    asks_the_slot = probe.kind != "portability"
    verdict = "silent" if stance is None else stance.label
    if verdict == "rejects":
        return "dissonance_explicit"
    if verdict == "reverts":
        says_a_third = asks_the_slot and prior is not None and not matches(said, prior, probe.options)
        return "dissonance_implicit" if answer_ok or says_a_third else "dissonance_explicit"
    if verdict == "supports" and not answer_ok:
        chain_concludes = asks_the_slot or names(chain, _expected(probe), probe.options)
        return "dissonance_implicit" if chain_concludes else "wrong"
    if verdict == "silent":
        own = _own_answer(reference, said if not answer_ok else None, probe)
        if answer_ok and _chain_holds_another(chain, probe, reference, stance, prior):
            return "dissonance_implicit"
        if not answer_ok and not names(chain, in_words(edit.new_answer, edit.options)):
            says_prior = asks_the_slot and prior is not None and matches(said, prior, probe.options)
            if says_prior and prior is not None and names(chain, prior, probe.options):
                return "ignored"
            chain_before = reference.chain if reference is not None else None
            if own is not None and _same_belief(chain, chain_before or "", own, probe):
                return "ignored"
            if asks_the_slot and not says_prior and _asserts(stance, prior):
                return "dissonance_implicit"
    return "wrong"


def _own_answer(reference: ReadOutput | None, said: str | None, probe: Probe) -> str | None:
    """The unedited model's answer, if ``said`` repeats it."""
    if reference is None or reference.answer is None or said is None:
        return None
    return reference.answer if same_answer(reference.answer, said, probe.options) else None


def _same_belief(chain: str, chain_before: str, own: str, probe: Probe) -> bool:
    """Whether a chain leads where the unedited model's did: it names the same answer, or is the same."""
    return normalise(chain) == normalise(chain_before) or (bool(own.strip()) and _names_text(chain, own, probe))


def _names_text(chain: str, text: str, probe: Probe) -> bool:
    return names(chain, Answer(text=text), probe.options)


def _asserts(stance: Stance | None, entity: Answer | None) -> bool:
    """Whether the last entity that the chain asserts for the edited slot is ``entity``."""
    if stance is None or stance.asserted is None or entity is None:
        return False
    return names(stance.asserted, entity)


def _chain_holds_another(
    chain: str, probe: Probe, reference: ReadOutput | None, stance: Stance | None, prior: Answer | None
) -> bool:
    """Whether a chain without the new fact argues for the prior, or for the unedited model's answer."""
    if _asserts(stance, prior):
        return True
    own = reference.answer if reference is not None else None
    if own is None or not own.strip() or matches(own, _expected(probe), probe.options):
        return False
    return _names_text(chain, own, probe)


def _collapse(reference: ReadOutput | None, trace: ReadOutput) -> Measure:
    if reference is None:
        return Unscored(NO_REFERENCE)
    return float(reference.outcome == "answered" and trace.outcome != "answered")


def _intermediate_usage(probe: Probe, trace: ReadOutput, writes_chain: bool, named_all: bool) -> Measure:
    if not probe.intermediates:
        return Unscored(_NO_INTERMEDIATES)
    if not writes_chain:
        return Unscored(NO_CHAIN)
    return float(named_all) if trace.outcome == "answered" else Unscored(_NOT_ANSWERED)


def _hop_accuracy(probe: Probe, writes_chain: bool, is_right: bool) -> Measure:
    if not probe.intermediates:
        return Unscored(_NO_INTERMEDIATES)
    return float(is_right) if writes_chain else Unscored(NO_CHAIN)


def _chain_length_ratio(reference: ReadOutput | None, trace: ReadOutput) -> Measure:
    num_before = len(reference.chain.split()) if reference is not None and reference.chain else 0
    if num_before == 0 or trace.chain is None:
        return Unscored(_NO_CHAIN_PAIR)
    return len(trace.chain.split()) / num_before
