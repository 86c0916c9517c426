"""From queries whose cards are known to thresholds with a guarantee.

Margins are chosen on related queries, thresholds on unrelated ones; no query serves for both, so that a margin does not
depend on what the threshold is computed from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from reground.edits.misfits import misfit_words
from reground.edits.records import ImageRef, Record, Text
from reground.errors import InputError, RecordError
from reground.library.conformal import conformal_threshold
from reground.library.routing import WAYS, Calibration, Route, Router, Threshold, Way
from reground.models.base import Query

__all__ = [
    "SHIPPED_CALIBRATIONS",
    "AskedQuery",
    "Observation",
    "calibrate",
    "chosen_margin",
    "observe",
    "read_asked",
    "read_calibration",
    "routes_of",
    "way_budget",
]

#: Calibrations that ship with the package: name -> file beside this module.
SHIPPED_CALIBRATIONS = {
    "phantom": "phantom_calibration.json",
    "phantom-ngrams": "phantom_ngrams_calibration.json",
    "phantom-joined": "phantom_joined_calibration.json",
}

#: Related queries whose card leads by less than the margin, at most, among those whose card is found.
_MARGIN_LOSS = 0.05


@dataclass(frozen=True)
class AskedQuery:
    """A query, and what it is to find.

    Attributes:
        query: What is asked; a sentence of a chain as a question without an image, with ``is_sentence``.
        cards: Ids of the cards that concern it; none for an unrelated query.
        passed_over: Ids of cards that are taken for not being there, e.g. those about the same subject.
        is_sentence: Whether it is a sentence of a chain.
    """

    query: Query
    cards: frozenset[str] = frozenset()
    passed_over: frozenset[str] = frozenset()
    is_sentence: bool = False


@dataclass(frozen=True)
class Observation:
    """What one query found by one way.

    Attributes:
        way: The way.
        score: Of the best card; minus infinity if there was none.
        margin: Its lead over the next.
        is_right: Whether the best card concerns the query.
    """

    way: Way
    score: float
    margin: float
    is_right: bool


def routes_of(router: Router, asked: Sequence[AskedQuery], num_cards: int) -> list[Route]:
    """What becomes of each query if the cards it passes over are not there.

    Args:
        router: The router.
        asked: The queries.
        num_cards: Cards looked up: at least two more than any query passes over.
    """
    plain = [one for one in asked if not one.is_sentence]
    sentences = [one for one in asked if one.is_sentence]
    routes = {
        **dict(zip(map(id, plain), router.route([one.query for one in plain], num_candidates=num_cards), strict=True)),
        **dict(
            zip(
                map(id, sentences),
                router.lookup([one.query.question for one in sentences], num_candidates=num_cards),
                strict=True,
            )
        ),
    }
    return [
        router.decide(
            routes[id(one)].query,
            {
                way: [candidate for candidate in candidates if candidate.id not in one.passed_over]
                for way, candidates in routes[id(one)].candidates.items()
            },
        )
        for one in asked
    ]


def observe(router: Router, asked: Sequence[AskedQuery], num_cards: int) -> list[list[Observation]]:
    """What each query finds by each way it asks, whatever the thresholds; see ``routes_of``."""
    return [
        [
            Observation(
                way,
                candidates[0].score if candidates else -math.inf,
                route.margins[way],
                bool(candidates) and candidates[0].id in one.cards,
            )
            for way, candidates in route.candidates.items()
        ]
        for route, one in zip(routes_of(router, asked, num_cards), asked, strict=True)
    ]


def calibrate(
    router: Router,
    unrelated: Sequence[AskedQuery],
    *,
    related: Sequence[AskedQuery] = (),
    alpha: float,
    delta: float,
    data: str,
    num_cards: int,
    num_looked_up: int,
) -> Calibration:
    """Thresholds under which at most ``alpha`` of unrelated queries receive a card, with confidence ``1 - delta``.

    The two ways of a query with an image share alpha and delta between them. Sentences of a chain have both for
    themselves: each lookup counts as a query.

    Args:
        router: Over the library the thresholds are for.
        unrelated: Queries that no card concerns, cards passed over aside.
        related: Other queries, whose cards are known; margins are chosen on them. Without any, margins are 0.
        alpha, delta: See above.
        data: What these queries are, for people.
        num_cards: Cards in force in the library.
        num_looked_up: See ``observe``.

    Raises:
        InputError: Fewer unrelated queries than the guarantee takes, for a way that is asked at all.
    """
    library = router.library
    tuned = _by_way(observe(router, related, num_looked_up))
    margins = {way: chosen_margin(tuned.get(way, ())) for way in WAYS}
    thresholds: dict[Way, Threshold] = {}
    for way, seen in _by_way(observe(router, unrelated, num_looked_up)).items():
        own_alpha, own_delta = way_budget(way, alpha, delta, is_joined=library.layout.is_joined)
        scores = [one.score if one.margin >= margins[way] else -math.inf for one in seen]
        thresholds[way] = Threshold(
            score=max(conformal_threshold(scores, own_alpha, own_delta), -2.0),
            margin=margins[way],
            alpha=own_alpha,
            delta=own_delta,
            num_unrelated=len(scores),
            num_tuning=len(tuned.get(way, ())),
        )
    return Calibration(
        thresholds=thresholds,
        image_share=router.image_share,
        text_encoder=library.layout.text_encoder,
        image_encoder=library.layout.image_encoder,
        is_joined=library.layout.is_joined,
        num_cards=num_cards,
        data=data,
        guarantee=_guarantee(thresholds, alpha, delta, data, num_cards),
    )


def way_budget(way: Way, alpha: float, delta: float, *, is_joined: bool) -> tuple[float, float]:
    """Alpha and delta of one way: a query with an image asks two sides, each of which gets half.

    Example:
        >>> way_budget("image", 0.04, 0.1, is_joined=False)
        (0.02, 0.05)
    """
    is_shared = way in ("image", "image_question") and not is_joined
    return (alpha / 2, delta / 2) if is_shared else (alpha, delta)


def chosen_margin(observations: Iterable[Observation], loss: float = _MARGIN_LOSS) -> float:
    """The largest margin that at most ``loss`` of the rightly found cards fall short of; 0 if none was found.

    Example:
        >>> seen = [Observation("question", 0.9, margin, True) for margin in (0.1, 0.2, 0.3, 0.4)]
        >>> chosen_margin(seen, loss=0.25)
        0.2
    """
    margins = sorted(one.margin for one in observations if one.is_right and math.isfinite(one.margin))
    if not margins:
        return 0.0
    return margins[math.floor(loss * len(margins))]


def read_calibration(name: str) -> Calibration:
    """A calibration by its shipped name, or from a JSON file.

    Raises:
        InputError: No such file, or no calibration in it.
    """
    shipped = SHIPPED_CALIBRATIONS.get(name)
    source = resources.files(__package__).joinpath(shipped) if shipped else Path(name)
    try:
        return Calibration.model_validate_json(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why: str = getattr(error, "strerror", None) or str(error)
        cause: Exception = error
    except ValidationError as error:
        why, cause = misfit_words(Calibration, error.errors(include_url=False)[0]), error
    raise InputError(
        f"the calibration {name!r} cannot be read: {why}.",
        f"one of {', '.join(SHIPPED_CALIBRATIONS)}, or a file that `reground library calibrate` wrote",
        "calibrate again, or correct the name.",
    ) from cause


def read_asked(path: Path, *, has_cards: bool) -> list[AskedQuery]:
    """Questions from a file of JSON lines with ``question``, ``image`` (an address, or several), ``is_sentence``.

    Args:
        path: The file; relative image paths start where it is.
        has_cards: Whether each line has ``cards``, the ids of those that concern it; without, none may be there.

    Raises:
        RecordError: A line that is no such question.
        InputError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"questions cannot be read from {str(path)!r}: {getattr(error, 'strerror', None) or error}.",
            "a JSONL file with one question a line",
            "check the path.",
        ) from error
    asked = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            one = _AskedLine.model_validate_json(line)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            raise RecordError(
                f"{path}, line {number}: {misfit_words(_AskedLine, detail)}.",
                "one question with the fields question, image, is_sentence" + (", cards" if has_cards else ""),
                "correct the line.",
                file=str(path),
                line=number,
            ) from error
        if bool(one.cards) != has_cards:
            raise RecordError(
                f"{path}, line {number}: it names {len(one.cards)} cards.",
                "at least one card that concerns the question" if has_cards else "a question that no card concerns",
                "correct the line, or put it in the other file.",
                file=str(path),
                line=number,
            )
        image = None if one.image is None else one.image.inside(str(path.parent.absolute()))
        asked.append(
            AskedQuery(Query(question=one.question, image=image), frozenset(one.cards), is_sentence=one.is_sentence)
        )
    return asked


class _AskedLine(Record):
    question: Text
    image: ImageRef | None = None
    cards: tuple[Text, ...] = ()
    is_sentence: bool = False


def _by_way(observed: Iterable[Iterable[Observation]]) -> dict[Way, list[Observation]]:
    """What was observed by each way that has a threshold."""
    found: dict[Way, list[Observation]] = {}
    for of_query in observed:
        for one in of_query:
            if one.way in WAYS:
                found.setdefault(one.way, []).append(one)
    return found


def _guarantee(thresholds: Mapping[Way, Threshold], alpha: float, delta: float, data: str, num_cards: int) -> str:
    counts = ", ".join(f"{way} {one.num_unrelated}" for way, one in thresholds.items())
    absent = [way for way in WAYS if way not in thresholds]
    closed = f" Ways that were not calibrated receive nothing: {', '.join(absent)}." if absent else ""
    return (
        f"With confidence {1 - delta:g}, at most {alpha:.2%} of queries that no card concerns receive a card, if they "
        f"come as the unrelated queries of the calibration came, to a library like the one of {num_cards} cards it was "
        f"made with. Data: {data}. Unrelated queries by way: {counts}. A sentence looked up while thinking counts as a "
        f"query.{closed}"
    )
