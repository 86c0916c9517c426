"""Which card a query receives, if any.

A query without an image asks the text side. A query with one asks both: the image side by a joint score of image and
question, the text side by its question. A sentence of a chain asks the text side. Each of these *ways* has its own
threshold and margin, since scores of different ways do not compare.

A card that is called by its name needs neither: a question or a sentence that names the subject of a textual card, or
a sentence on an image that says what a visual card's percept says, receives it, and no card of that side that is
merely near. Of many cards of one name the nearest are given: cards on one subject differ in little, and which of them
is asked about is told better by who reads them.

Axes: B queries, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reground.edits.names import names_in
from reground.edits.records import ImageRef, Record, Text
from reground.errors import InputError
from reground.library.card import EditCard
from reground.library.encoders import Encoders, RememberingTexts
from reground.library.index import Match, Side, Vector
from reground.library.store import Library
from reground.models.base import Query

__all__ = [
    "WAYS",
    "Calibration",
    "Candidate",
    "Route",
    "Router",
    "Threshold",
    "Verdict",
    "Way",
    "ask_vectors",
    "judged",
    "margin_of",
    "ways_of",
]

#: How a side is asked: a question without an image; an image and its question; the question of an image on the text
#: side; a sentence of a chain; a subject that question or sentence names; a percept that a sentence repeats.
Way = Literal["question", "image", "image_question", "sentence", "named", "percept"]
#: The ways by likeness, which have thresholds.
WAYS: tuple[Way, ...] = ("question", "image", "image_question", "sentence")
_SIDES: dict[Way, Side] = {
    "question": "text",
    "image": "image",
    "image_question": "text",
    "sentence": "text",
    "named": "text",
    "percept": "image",
}
_NO_THRESHOLD = -math.inf
#: Cards of one name that a query receives at most: as many facts of one subject as it takes to choose among.
_NUM_NAMED = 3

#: Why the best candidate of a way is a hit, or is none.
Verdict = Literal["hit", "below_threshold", "below_margin", "no_candidate", "not_calibrated"]

#: Candidates looked up on a side: the best, the one its margin is taken to, and near misses to show.
_NUM_CANDIDATES = 5


class Threshold(Record):
    """What the best candidate of one way has to pass, and what is known about it.

    Attributes:
        score: It must exceed this.
        margin: Its lead over the next candidate must be at least this.
        alpha, delta: With confidence 1 - delta at most alpha of unrelated queries pass.
        num_unrelated: Queries this was calibrated on.
        num_tuning: Related queries the margin was chosen on.
    """

    score: float
    margin: float = 0.0
    alpha: float | None = None
    delta: float | None = None
    num_unrelated: int = 0
    num_tuning: int = 0


class Calibration(Record):
    """Thresholds of all ways, and the guarantee that goes with them.

    Attributes:
        thresholds: By way; a way without one receives nothing.
        image_share: Share of the image, against the question, in the joint score.
        text_encoder, image_encoder: Specs of the encoders the scores came from.
        is_joined: Whether the library had one side for all cards.
        num_cards: Cards in force when it was calibrated; a library that has grown far beyond is to be calibrated
            again.
        data: Which queries and cards it was made on.
        guarantee: The whole, in sentences.
    """

    thresholds: dict[Way, Threshold]
    image_share: Annotated[float, Field(ge=0, le=1)] = 0.7
    text_encoder: Text
    image_encoder: Text | None = None
    is_joined: bool = False
    num_cards: int
    data: Text
    guarantee: Text


@dataclass(frozen=True)
class Candidate:
    """A card in question for a query.

    Attributes:
        id, card: The card.
        way: How it was found.
        score: Higher is nearer; scores of one way compare.
    """

    id: str
    card: EditCard
    way: Way
    score: float


@dataclass(frozen=True)
class Route:
    """What became of one query.

    Attributes:
        query: The query, or the sentence as a query.
        hits: The cards it receives: at most one a side, or three of one name. Empty: the router abstains.
        candidates: By way, the nearest cards, the nearest first, hits among them.
        verdicts: By way, what was decided about the nearest.
        margins: By way, the lead of the nearest card over the next; infinite if there is no other.
    """

    query: Query
    hits: tuple[Candidate, ...]
    candidates: Mapping[Way, tuple[Candidate, ...]]
    verdicts: Mapping[Way, Verdict]
    margins: Mapping[Way, float]

    @property
    def abstains(self) -> bool:
        """Whether no card is given."""
        return not self.hits

    @property
    def hit(self) -> Candidate | None:
        """The first hit."""
        return self.hits[0] if self.hits else None


def ways_of(query: Query, *, is_joined: bool = False) -> tuple[Way, ...]:
    """The ways a query asks; in a library with one side for all cards there is one for each kind of query."""
    if query.image is None:
        return ("question",)
    return ("image",) if is_joined else ("image", "image_question")


def margin_of(scores: Sequence[float]) -> float:
    """The lead of the first score over the second; infinite if there is no second, and if there is none at all.

    Example:
        >>> margin_of([0.75, 0.5])
        0.25
    """
    return scores[0] - scores[1] if len(scores) > 1 else math.inf


def judged(scores: Sequence[float], threshold: Threshold | None) -> Verdict:
    """What is decided about the best of some scores, the best first.

    Example:
        >>> judged([0.9, 0.8], Threshold(score=0.5, margin=0.2))
        'below_margin'
    """
    if not scores:
        return "no_candidate"
    if threshold is None:
        return "not_calibrated"
    if scores[0] <= threshold.score:
        return "below_threshold"
    return "hit" if margin_of(scores) >= threshold.margin else "below_margin"


def ask_vectors(text_BD: Vector, image_BD: Vector | None, image_share: float) -> Vector:
    """What the image side is asked with: inner products with (image, question) are the joint score.

    The score is ``w * cos(image, card's image) + (1 - w) * cos(question, card's question)``.

    Args:
        text_BD: Questions.
        image_BD: Images; None for queries without one, whose image counts as nothing.
        image_share: w.

    Example:
        >>> ask_vectors(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), 0.25).tolist()
        [[0.0, 0.5, 0.75, 0.0]]
    """
    if image_BD is None:
        image_BD = np.zeros((len(text_BD), 0), dtype=np.float32)
    return np.concatenate([image_share * image_BD, (1 - image_share) * text_BD], axis=1)


class Router:
    """Gives each query the cards that concern it, or none.

    Args:
        library: Where the cards are.
        encoders: The library's encoders; None: the library opens them.
        calibration: Thresholds; None: nothing is held back, every query receives its nearest card (an ablation).
        image_share: Share of the image in the joint score where there is no calibration.

    Raises:
        InputError: The calibration was made with other encoders, or for another kind of library.
    """

    def __init__(
        self,
        library: Library,
        encoders: Encoders | None = None,
        calibration: Calibration | None = None,
        *,
        image_share: float = 0.7,
    ) -> None:
        self.library = library
        self._encoders = encoders
        self._texts: RememberingTexts | None = None
        self.calibration = calibration
        self.image_share = image_share if calibration is None else calibration.image_share
        if calibration is not None:
            _require_fitting(library, calibration)

    @property
    def encoders(self) -> Encoders:
        """The encoders, opened if they were not."""
        return self._encoders or self.library.encoders

    def _read(self, texts: Sequence[str]) -> Vector:
        """Vectors of texts; those of questions and sentences that come again are kept, for as long as the router is."""
        if self._texts is None:
            self._texts = RememberingTexts(self.encoders.text)
        return self._texts.encode(texts)

    def route(self, queries: Sequence[Query], *, num_candidates: int = _NUM_CANDIDATES) -> list[Route]:
        """The cards of each query; all queries see the same version of the library.

        Args:
            queries: What is asked; notes and options are not looked at.
            num_candidates: Cards looked up by each way, at least 2.

        Raises:
            ImageError: An image is missing or cannot be read.
        """
        self.library.refresh()
        if not queries:
            return []
        text_BD = self._read([query.question for query in queries])
        found: list[dict[Way, list[Match]]] = [{} for _ in queries]
        for way in WAYS:
            rows = [row for row, query in enumerate(queries) if way in self._ways(query)]
            if rows:
                asked_BD = self._asked(way, text_BD[rows], [queries[row].image for row in rows])
                matches = self.library.search(self._side(way), asked_BD, num_candidates)
                for row, of_row in zip(rows, matches, strict=True):
                    found[row][way] = of_row
        named = self._named("named", text_BD, [query.question for query in queries], num_candidates)
        for of_query, of_name in zip(found, named, strict=True):
            of_query.update({"named": of_name} if of_name else {})
        return [self._decided(query, of_query) for query, of_query in zip(queries, found, strict=True)]

    def lookup(
        self,
        sentences: Sequence[str],
        queries: Sequence[Query] | None = None,
        *,
        num_candidates: int = _NUM_CANDIDATES,
    ) -> list[Route]:
        """The cards each sentence of a chain is about.

        Args:
            sentences: From the text side, and by what they say is seen, from the image side.
            queries: For each sentence, the query whose chain it is from; without an image, or without queries, the
                image side is not asked.
            num_candidates: As in ``route``.
        """
        self.library.refresh()
        if not sentences:
            return []
        text_BD = self._read(sentences)
        asked_BD = self._asked("sentence", text_BD, [None] * len(sentences))
        near = self.library.search(self._side("sentence"), asked_BD, num_candidates)
        named = self._named("named", text_BD, sentences, num_candidates)
        seen = self._seen(sentences, queries or [None] * len(sentences), num_candidates)
        return [
            self._decided(
                Query(question=sentence),
                {
                    "sentence": of_sentence,
                    **({"named": of_name} if of_name else {}),
                    **({"percept": of_percept} if of_percept else {}),
                },
            )
            for sentence, of_sentence, of_name, of_percept in zip(sentences, near, named, seen, strict=True)
        ]

    def _named(self, way: Way, text_BD: Vector, texts: Sequence[str], num_candidates: int) -> list[list[Match]]:
        """For each text, the cards of names it holds."""
        asked_BD = self._asked(way, text_BD, [None] * len(texts))
        return self.library.search(self._side(way), asked_BD, num_candidates, names=[names_in(text) for text in texts])

    def _seen(
        self, sentences: Sequence[str], queries: Sequence[Query | None], num_candidates: int
    ) -> list[list[Match]]:
        """For each sentence on an image, the cards whose percept it repeats; of those, questions decide."""
        found: list[list[Match]] = [[] for _ in sentences]
        asked = {
            row: query.question for row, query in enumerate(queries) if query is not None and query.image is not None
        }
        if asked and self.library.layout.image_encoder is not None:
            text_BD = self._read(list(asked.values()))
            matches = self._named("percept", text_BD, [sentences[row] for row in asked], num_candidates)
            for row, of_row in zip(asked, matches, strict=True):
                found[row] = of_row
        return found

    def parts(self, query: Query, candidate: Candidate) -> dict[str, float]:
        """What a candidate's score on the image side is made of: the likeness of the images and of the questions."""
        if self._side(candidate.way) != "image":
            return {"question": candidate.score}
        vectors = self.library.vectors([candidate.id]).get(candidate.id, {})
        asked_D = self._asked("image", self._read([query.question]), [query.image])[0]
        cut = len(asked_D) - self.encoders.text.num_dimensions
        products_D = asked_D * vectors["image"]
        weights = {"image": self.image_share, "question": 1 - self.image_share}
        sums = {"image": float(products_D[:cut].sum()), "question": float(products_D[cut:].sum())}
        return {name: total / weights[name] for name, total in sums.items() if weights[name] > 0}

    def _ways(self, query: Query) -> tuple[Way, ...]:
        ways = ways_of(query, is_joined=self.library.layout.is_joined)
        return tuple(way for way in ways if way != "image" or self.library.layout.image_encoder is not None)

    def _side(self, way: Way) -> Side:
        is_joined = self.library.layout.is_joined and way != "sentence"
        return "image" if is_joined else _SIDES[way]

    def _asked(self, way: Way, text_BD: Vector, images: Sequence[ImageRef | None]) -> Vector:
        if self._side(way) == "text":
            return text_BD
        encoder = self.encoders.image
        if encoder is None:
            return ask_vectors(text_BD, None, self.image_share)
        seen = [image for image in images if image is not None]
        image_BD = np.zeros((len(images), encoder.num_dimensions), dtype=np.float32)
        if seen:
            image_BD[[row for row, image in enumerate(images) if image is not None]] = encoder.encode(seen)
        return ask_vectors(text_BD, image_BD, self.image_share)

    def decide(self, query: Query, candidates: Mapping[Way, Sequence[Candidate]]) -> Route:
        """What becomes of a query that found these cards, by each way the nearest first."""
        scores = {way: [candidate.score for candidate in of_way] for way, of_way in candidates.items()}
        verdicts = {way: judged(of_way, self._threshold(way)) for way, of_way in scores.items()}
        hits: dict[str, Candidate] = {}
        named_sides = {self._side(way) for way in candidates if way not in WAYS and verdicts[way] == "hit"}
        for way, of_way in candidates.items():
            if verdicts[way] != "hit" or (way in WAYS and self._side(way) in named_sides):
                continue
            for candidate in of_way[: 1 if way in WAYS else _NUM_NAMED]:
                hits.setdefault(candidate.id, candidate)
        return Route(
            query,
            tuple(hits.values()),
            {way: tuple(of_way) for way, of_way in candidates.items()},
            verdicts,
            {way: margin_of(of_way) for way, of_way in scores.items()},
        )

    def _decided(self, query: Query, found: Mapping[Way, Sequence[Match]]) -> Route:
        candidates = {way: [_candidate(match, way) for match in matches] for way, matches in found.items()}
        return self.decide(query, candidates)

    def _threshold(self, way: Way) -> Threshold | None:
        if self.calibration is None or way not in WAYS:
            return Threshold(score=_NO_THRESHOLD)
        return self.calibration.thresholds.get(way)


def _candidate(match: Match, way: Way) -> Candidate:
    return Candidate(match.id, EditCard.model_validate_json(match.record), way, match.score)


def _require_fitting(library: Library, calibration: Calibration) -> None:
    made = (library.layout.text_encoder, library.layout.image_encoder, library.layout.is_joined)
    fitted = (calibration.text_encoder, calibration.image_encoder, calibration.is_joined)
    if made != fitted:
        raise InputError(
            f"thresholds calibrated for (text encoder, image encoder, joined) = {fitted} were given to a library "
            f"made with {made}.",
            "thresholds calibrated for this kind of library",
            "run `reground library calibrate` for it.",
        )
