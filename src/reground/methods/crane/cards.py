"""The cards of edits in force, and which of them a query or a sentence receives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reground.edits.records import Answer
from reground.errors import InputError
from reground.library.calibration import SHIPPED_CALIBRATIONS, read_calibration
from reground.library.card import EditCard, card_id
from reground.library.encoders import Encoders, default_text_encoder, open_encoders
from reground.library.exchange import read_cards
from reground.library.routing import Calibration, Route, Router
from reground.library.store import Layout, Library
from reground.methods.crane.config import CranePromptConfig
from reground.methods.crane.thinking import states
from reground.models.base import Query

__all__ = ["Cards", "Given", "Put", "newest_first", "open_cards"]


@dataclass(frozen=True)
class Given:
    """A card that is given to a query.

    Attributes:
        id, card: The card.
        order: The later a card came into force, the larger.
        priors: What it took back: what held before and what the unedited model answered, of this card and of those
            that it displaced.
    """

    id: str
    card: EditCard
    order: int
    priors: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Put:
    """What putting cards in force did, so that it can be undone.

    Attributes:
        ids: The cards, whether they were there before or not.
        entered: Those that were not.
        displaced: Cards that were in force and contradict a later one.
    """

    ids: tuple[str, ...]
    entered: tuple[str, ...]
    displaced: tuple[EditCard, ...]


class Cards:
    """A library and its router; of cards that contradict each other, only the latest stays in force.

    Args:
        library: The library.
        router: Over it.
    """

    def __init__(self, library: Library, router: Router) -> None:
        self.library = library
        self._router = router
        self._order: dict[str, int] = {}
        self._priors: dict[str, tuple[Answer, ...]] = {}
        self._in_force: dict[str, EditCard] = {}
        self._num_put = 0

    def put(self, cards: Sequence[EditCard]) -> Put:
        """Put cards in force, in their order, as one batch; what they contradict is withdrawn.

        Raises:
            ImageError: An image is missing or cannot be read; nothing is changed.
        """
        named = {card_id(card): card for card in cards}
        added = self.library.add(list(named.values()))
        stale = dict.fromkeys(pair.standing for pair in added.contradictions)
        displaced = tuple(self.library.get(name).card for name in stale if name not in named)
        for pair in added.contradictions:
            before = self._priors.get(pair.standing, _priors(self.library.get(pair.standing).card))
            self._priors[pair.entered] = (*self._priors.get(pair.entered, _priors(named[pair.entered])), *before)
        if stale:
            self.library.remove(list(stale))
        for name, card in named.items():
            self._num_put += 1
            self._order[name] = self._num_put
            self._in_force[name] = card
        for name in stale:
            self._in_force.pop(name, None)
        return Put(tuple(named), added.entered, displaced)

    def take_back(self, puts: Sequence[Put]) -> None:
        """Undo the last ones of ``put``: their own cards are withdrawn, and what they displaced comes back.

        Args:
            puts: In the order they were made.
        """
        own = dict.fromkeys(name for put in puts for name in put.entered)
        held = {stored.id for stored in self.library.cards()}
        withdrawn = [name for name in own if name in held]
        if withdrawn:
            self.library.remove(withdrawn)
        back = {card_id(card): card for put in puts for card in put.displaced}
        back = {name: card for name, card in back.items() if name not in own}
        if back:
            self.library.add(list(back.values()))
        for name in (name for put in puts for name in put.ids):
            self._in_force.pop(name, None)
            self._priors.pop(name, None)
        self._in_force |= {name: card for name, card in back.items() if name in self._order}

    def all(self) -> tuple[Given, ...]:
        """Every card that was put in force here and still is, the newest first."""
        return newest_first(self._given(name, card) for name, card in self._in_force.items())

    def of_queries(self, queries: Sequence[Query]) -> list[tuple[Given, ...]]:
        """The cards that concern each query, the newest first; none where the router abstains."""
        return [self._hits(route) for route in self._router.route(queries)]

    def of_sentences(self, sentences: Sequence[str], queries: Sequence[Query]) -> list[tuple[Given, ...]]:
        """The cards that concern each sentence of the chain of a query."""
        return [self._hits(route) for route in self._router.lookup(sentences, queries)]

    def _hits(self, route: Route) -> tuple[Given, ...]:
        return newest_first(self._given(hit.id, hit.card) for hit in route.hits)

    def _given(self, name: str, card: EditCard) -> Given:
        return Given(name, card, self._order.get(name, 0), self._priors.get(name, _priors(card)))


def _priors(card: EditCard) -> tuple[Answer, ...]:
    """What held before and what the unedited model answered, unless that is what the card says."""
    known = (answer for answer in (card.prior_answer, card.belief) if answer is not None)
    return tuple(answer for answer in known if not any(states(text, card.new_answer) for text in answer.spellings))


def newest_first(given: Iterable[Given]) -> tuple[Given, ...]:
    """Cards, the one that came into force last first."""
    return tuple(sorted(given, key=lambda one: -one.order))


def open_cards(config: CranePromptConfig) -> Cards:
    """The library and router that the settings describe; in memory, a new one at every call.

    Raises:
        InputError: The library or the calibration cannot be used, or none ships for these encoders.
        RecordError: A line of the background is no card.
        UnknownNameError: No such encoder.
        MissingExtraError: A package is not installed.
    """
    is_joined = config.num_sides == 1
    encoders = open_encoders(config.text_encoder or default_text_encoder(), config.image_encoder)
    if config.background is None:
        library = Library.open(config.library or "memory:", encoders=encoders, is_joined=is_joined)
    else:
        library = _background(config.background, encoders, is_joined).copied()
    calibration = _calibration(config, library.layout) if config.abstains and config.retrieval == "routed" else None
    return Cards(library, Router(library, encoders, calibration))


@lru_cache(maxsize=2)
def _background(path: str, encoders: Encoders, is_joined: bool) -> Library:
    """The cards of a file in a library of their own, encoded once a process."""
    library = Library.open("memory:", encoders=encoders, is_joined=is_joined)
    library.add(read_cards(Path(path)))
    return library


def _calibration(config: CranePromptConfig, layout: Layout) -> Calibration:
    if config.calibration is not None:
        return read_calibration(config.calibration)
    wanted = (layout.text_encoder, layout.image_encoder, layout.is_joined)
    for name in SHIPPED_CALIBRATIONS:
        shipped = read_calibration(name)
        if (shipped.text_encoder, shipped.image_encoder, shipped.is_joined) == wanted:
            return shipped
    raise InputError(
        f"cards were to be routed with the encoders {layout.text_encoder!r} and {layout.image_encoder!r} on "
        f"{config.num_sides} side{'s' if config.num_sides > 1 else ''}; no calibration ships for that.",
        f"calibration=FILE, or what one ships for: {', '.join(SHIPPED_CALIBRATIONS)}; or abstains=false",
        "run `reground library calibrate` and set calibration=FILE.",
    )
