"""Calibrating a router on a benchmark: which of its questions concern which cards, and what the thresholds then do.

The edits of a split are halved. The first half is the library that thresholds are made with, the second one that they
are tried on; no edit, probe or card is in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reground.benchmarks.base import Benchmark, ShowsSubjects, WritesChains
from reground.edits.names import normalised
from reground.edits.records import Edit, Probe, Record
from reground.library.calibration import AskedQuery, calibrate, routes_of
from reground.library.card import card_id, card_of
from reground.library.conformal import upper_bound
from reground.library.encoders import Encoders
from reground.library.routing import Calibration, Router
from reground.library.store import Library
from reground.models.base import Query

__all__ = ["HalfReport", "LevelReport", "calibrate_on_benchmark", "halves"]

#: One edit in so many gives its related queries to the margins; the others give unrelated ones to the thresholds.
_TUNING_EVERY = 3


class LevelReport(Record):
    """What became of the queries of one level.

    Attributes:
        kind: ``in_scope``, ``near``, ``far``, ``foreign`` (in scope of a card that is taken away) or ``chain``.
        level: The probe's level, with the modality of its edit; for ``foreign`` and far ones together ``all``.
        n: Queries.
        received: Share that receives a card.
        right: Share that receives the card it concerns; None where there is none.
        nearest: Share whose card is the nearest of a way, whatever the thresholds say; None where there is none.
    """

    kind: str
    level: str
    n: int
    received: float
    right: float | None = None
    nearest: float | None = None


class HalfReport(Record):
    """What thresholds do on edits they were not made with.

    Attributes:
        num_cards: Cards of the library.
        levels: By kind and level.
        unrelated: Foreign and far queries together: received of n, and the upper 95 % limit of that share.
    """

    num_cards: int
    levels: tuple[LevelReport, ...]
    unrelated: dict[str, float | int | None]


@dataclass
class _Half:
    """One half's library and its questions."""

    library: Library
    tuning: list[AskedQuery] = field(default_factory=list)
    unrelated: list[AskedQuery] = field(default_factory=list)
    groups: dict[tuple[str, str], list[AskedQuery]] = field(default_factory=dict)


def halves(edits: Sequence[Edit]) -> tuple[list[Edit], list[Edit]]:
    """The edits in two halves by subject: those about one subject, and about the values it has, fall together.

    Subjects take turns by relation, so that each kind of edit is in both.
    """
    group_of: dict[str, str] = {}
    for edit in edits:
        prior = edit.prior_answer.text if edit.prior_answer is not None else edit.subject
        group_of.setdefault(edit.subject, edit.subject)
        # A textual edit about what a visual one used to be called goes where that one goes.
        group_of.setdefault(prior, group_of[edit.subject]) if edit.modality == "visual" else None
    turns: dict[str, int] = {}
    half_of: dict[str, int] = {}
    for edit in edits:
        group = group_of[edit.subject]
        if group not in half_of:
            half_of[group] = turns.get(edit.relation, 0) % 2
            turns[edit.relation] = turns.get(edit.relation, 0) + 1
    return tuple([edit for edit in edits if half_of[group_of[edit.subject]] == half] for half in (0, 1))  # type: ignore[return-value]


def calibrate_on_benchmark(
    benchmark: Benchmark,
    split: str,
    encoders: Encoders,
    *,
    alpha: float,
    delta: float,
    image_share: float,
    is_joined: bool = False,
) -> tuple[Calibration, HalfReport]:
    """Thresholds from the first half of a split's edits, and what they do on the second half.

    A query counts as unrelated if it is a far locality question, or if every card about what it names, shows or passes
    through is taken away.

    Args:
        benchmark: Where edits and probes come from.
        split: Which edits; never one that is scored.
        encoders: The encoders.
        alpha, delta: See ``library.calibration.calibrate``.
        image_share: Share of the image in the joint score.
        is_joined: One side for all cards.

    Raises:
        InputError: No such split, or too few questions for the guarantee.
    """
    first, second = (_half(benchmark, edits, encoders, is_joined) for edits in halves(benchmark.edits(split)))
    card = benchmark.card()
    calibration = calibrate(
        Router(first.library, image_share=image_share),
        first.unrelated,
        related=first.tuning,
        alpha=alpha,
        delta=delta,
        data=f"far and foreign questions of the first half of {card.name} {card.version}, split {split}",
        num_cards=len(first.library),
        num_looked_up=len(first.library),
    )
    return calibration, _report(second, Router(second.library, calibration=calibration))


def _half(benchmark: Benchmark, edits: Sequence[Edit], encoders: Encoders, is_joined: bool) -> _Half:
    half = _Half(Library.open("memory:", encoders=encoders, is_joined=is_joined))
    cards = {edit.id: card_of(edit) for edit in edits}
    half.library.add(list(cards.values()))
    ids = {edit_id: card_id(card) for edit_id, card in cards.items()}
    by_subject: dict[str, set[str]] = {}
    for edit in edits:
        by_subject.setdefault(normalised(edit.subject), set()).add(ids[edit.id])
    for place, edit in enumerate(edits):
        is_tuning = place % _TUNING_EVERY == 0
        for group, one in _asked(benchmark, edit, ids[edit.id], by_subject):
            half.groups.setdefault(group, []).append(one)
            if is_tuning and group[0] in ("in_scope", "chain"):
                half.tuning.append(one)
            if not is_tuning and group[0] in ("far", "foreign", "foreign_chain"):
                half.unrelated.append(one)
    return half


def _asked(
    benchmark: Benchmark, edit: Edit, own: str, by_subject: Mapping[str, set[str]]
) -> Iterator[tuple[tuple[str, str], AskedQuery]]:
    for probe in benchmark.probes(edit):
        query = Query(question=probe.question, image=probe.image)
        level = f"{edit.modality} {probe.level}" + (" by image" if edit.modality == "textual" and probe.image else "")
        if probe.is_local:
            yield (str(probe.distance), level if probe.distance == "near" else "all"), AskedQuery(query)
            continue
        yield ("in_scope", level), AskedQuery(query, frozenset({own}))
        touched = _touching(_subjects_of(benchmark, edit, probe), probe.question, by_subject)
        yield ("foreign", "all"), AskedQuery(query, passed_over=touched)
    if isinstance(benchmark, WritesChains):
        for place, sentence in enumerate(benchmark.chain_sentences(edit)):
            query = Query(question=sentence)
            if place == 0 and edit.modality == "textual":
                yield ("chain", edit.relation), AskedQuery(query, frozenset({own}), is_sentence=True)
            touched = _touching([edit.subject], sentence, by_subject)
            yield ("foreign_chain", "all"), AskedQuery(query, passed_over=touched, is_sentence=True)


def _subjects_of(benchmark: Benchmark, edit: Edit, probe: Probe) -> Iterator[str]:
    """What a chain that answers a probe may pass through, with the edit and without."""
    yield edit.subject
    yield edit.new_answer.text
    if edit.prior_answer is not None:
        yield edit.prior_answer.text
    yield from (entity.text for entity in probe.intermediates)
    if probe.image is not None and isinstance(benchmark, ShowsSubjects):
        yield from benchmark.shown(probe.image)


def _touching(subjects: Iterable[str], text: str, by_subject: Mapping[str, set[str]]) -> frozenset[str]:
    """Cards about one of the subjects, or about what the text names."""
    wanted = set(map(normalised, subjects))
    asked = f" {normalised(text)} "
    return frozenset(
        card for subject, cards in by_subject.items() if subject in wanted or f" {subject} " in asked for card in cards
    )


def _report(half: _Half, router: Router) -> HalfReport:
    levels = []
    num_received = num_unrelated = 0
    for (kind, level), asked in sorted(half.groups.items()):
        hits, nearest = _hits(router, asked, len(half.library))
        received = sum(bool(of_query) for of_query in hits)
        has_card = kind in ("in_scope", "chain")
        right = [bool(of_query & one.cards) for of_query, one in zip(hits, asked, strict=True)]
        near = [bool(of_query & one.cards) for of_query, one in zip(nearest, asked, strict=True)]
        levels.append(
            LevelReport(
                kind=kind,
                level=level,
                n=len(asked),
                received=round(received / len(asked), 4),
                right=round(sum(right) / len(asked), 4) if has_card else None,
                nearest=round(sum(near) / len(asked), 4) if has_card else None,
            )
        )
        if kind in ("far", "foreign"):
            num_received, num_unrelated = num_received + received, num_unrelated + len(asked)
    limit = upper_bound(num_received, num_unrelated, 0.05)
    return HalfReport(
        num_cards=len(half.library),
        levels=tuple(levels),
        unrelated={
            "n": num_unrelated,
            "received": num_received,
            "share": None if not num_unrelated else round(num_received / num_unrelated, 4),
            "high": None if limit is None else round(limit, 4),
        },
    )


def _hits(router: Router, asked: Sequence[AskedQuery], num_cards: int) -> tuple[list[set[str]], list[set[str]]]:
    """For each query the cards it receives, and those nearest to it, cards that are passed over left out."""
    routes = routes_of(router, asked, num_cards)
    hits = [{hit.id for hit in route.hits} for route in routes]
    return hits, [{of_way[0].id for of_way in route.candidates.values() if of_way} for route in routes]
