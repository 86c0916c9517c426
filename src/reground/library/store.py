"""The edit library: cards on two sides, every change a version, any version to be had back.

Everything a library holds is entries of one index. A card's entry carries the history of the card: in which versions it
was put in force and in which withdrawn. A version's entry says what was done. Both are written in one batch of the
index, so a version is whole or it is not there. Cards are never overwritten and, unless they are erased, never
deleted, so that going back to a version is a new version with the cards that were in force then.

Axes: N cards, D dimensions of a side.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, ValidationError

from reground.edits.images import open_image
from reground.edits.records import Record, Text
from reground.errors import InputError, nearest
from reground.library.card import (
    EditCard,
    Picture,
    Provenance,
    card_id,
    contradict,
    fact_key,
    name_of,
    question_key,
    stored_form,
)
from reground.library.encoders import Encoders, default_text_encoder, open_encoders
from reground.library.index import Entry, Index, Match, MemoryIndex, Side, Vector, open_index

__all__ = [
    "Added",
    "Contradiction",
    "Layout",
    "Library",
    "Status",
    "StoredCard",
    "Version",
]

Status = Literal["active", "withdrawn"]

_LAYOUT_ID = "layout"
_VERSION_PREFIX = "version:"
_FORMAT = 2
#: Cards that are encoded and written at once; larger batches are still one version.
_ENCODED_AT_ONCE = 256
#: Versions after which the index sees to it that searches stay quick; large batches have it done at once.
_WRITES_BETWEEN_CARE = 64


class Layout(Record):
    """How a library was made; it never changes.

    Attributes:
        format_version: Of what is on disk.
        text_encoder, image_encoder: Specs of its encoders.
        question_share: Share of the question, against the statement, in what a card is found by on the text side.
        is_joined: One side for all cards, found by image and question, in place of two: an ablation.
    """

    format_version: int = _FORMAT
    text_encoder: Text
    image_encoder: Text | None = None
    question_share: float = Field(default=0.5, ge=0, le=1)
    is_joined: bool = False


class Version(Record):
    """One version of a library.

    Attributes:
        version: From 1 on; 0 is the empty library.
        when: When it was made.
        action: What was done.
        num_entered, num_withdrawn: Cards put in force, and cards taken out of force.
        num_active: Cards in force from then on.
        returned_to: The version whose cards are in force again, after a rollback.
    """

    version: int
    when: datetime
    action: Literal["add", "remove", "erase", "rollback"]
    num_entered: int = 0
    num_withdrawn: int = 0
    num_active: int
    returned_to: int | None = None


class Contradiction(Record):
    """Two cards in force that cannot both hold.

    Attributes:
        entered: The card that came second.
        standing: The card that was there.
        about: Whether they answer the same question, of the same image if any, or state the same fact of a subject.
    """

    entered: Text
    standing: Text
    about: Literal["question", "fact"]


class StoredCard(Record):
    """A card as a library gives it back.

    Attributes:
        id: Follows from what it says.
        card: What it says; images that came as files have the names under which the library keeps them.
        status: Whether it is in force.
        entered: The version in which it first was.
    """

    id: Text
    card: EditCard
    status: Status
    entered: int


class Added(Record):
    """What an addition did.

    Attributes:
        version: The version of the library after it.
        entered: Ids of the cards that came into force.
        known: Ids of cards that were in force already; nothing about them changes.
        withdrawn: Ids of the cards that were superseded.
        contradictions: Cards in force that contradict those that entered.
    """

    version: int
    entered: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()


@dataclass(frozen=True)
class _State:
    """What is known of every card without reading it.

    Attributes:
        history: Versions in which it changed sides, from entering on, each time the other way.
        question, fact: What it must not contradict; see ``library.card``.
    """

    history: tuple[int, ...]
    question: str
    fact: str

    def is_active(self, version: int | None = None) -> bool:
        """Whether it is in force, or was in a version."""
        return sum(version is None or turn <= version for turn in self.history) % 2 == 1

    def turned(self, version: int) -> _State:
        """The state after it was put in force or withdrawn."""
        return replace(self, history=(*self.history, version))

    def text(self) -> str:
        return "|".join((",".join(map(str, self.history)), self.question, self.fact))

    @classmethod
    def read(cls, text: str) -> _State:
        history, question, fact = text.split("|")
        return cls(tuple(int(turn) for turn in history.split(",")), question, fact)


class Library:
    """Edit cards, to be found by what is asked and what is seen. ``Library.open`` makes or opens one.

    Args:
        index: Where entries are kept; it holds a layout.
        layout: How the library was made.
        encoders: Its encoders; None: opened by the layout's specs when they are first needed.
    """

    def __init__(self, index: Index, layout: Layout, encoders: Encoders | None = None) -> None:
        self._index = index
        self.layout = layout
        self._encoders = encoders
        self._states: dict[str, _State] = {}
        self._by_key: dict[str, set[str]] = defaultdict(set)
        self._version = 0
        self._num_active = 0
        self._read_as: str | None = None

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        encoders: Encoders | None = None,
        is_joined: bool = False,
        is_new: bool | None = None,
    ) -> Library:
        """The library at an address; made there if there is none.

        Args:
            uri: ``memory:``, a folder, or any address LanceDB takes.
            encoders: Its encoders. None: those it was made with; for a new one ``default_text_encoder()`` and the
                built-in world's image encoder.
            is_joined: Make it with one side for all cards: an ablation.
            is_new: True: there must be none there yet. False: there must be one. None: either.

        Raises:
            InputError: The address cannot be used, ``is_new`` is not so, or the library was made otherwise.
            MissingExtraError: A package it needs is not installed.
        """
        index = open_index(uri)
        held = [] if index is None else index.get([_LAYOUT_ID])
        if is_new is not None and is_new != (not held):
            raise InputError(
                f"a {'new' if is_new else 'present'} library was asked for at {uri!r}; there is "
                f"{'one' if held else 'none'}.",
                "an address without a library" if is_new else "the address of a library",
                "choose another address." if is_new else "check the address, or make one with `reground library add`.",
            )
        if held:
            assert index is not None
            layout = _read_layout(held[0].record, uri)
            _require_same(layout, encoders, is_joined, uri)
            return cls(index, layout, encoders)
        if encoders is None:
            encoders = open_encoders(default_text_encoder(), "phantom-med")
        layout = Layout(
            text_encoder=encoders.text.spec,
            image_encoder=None if encoders.image is None else encoders.image.spec,
            is_joined=is_joined,
        )
        text = encoders.text.num_dimensions
        image = 0 if encoders.image is None else encoders.image.num_dimensions
        made = open_index(uri, {"text": text, "image": image + text})
        assert made is not None
        with made.writing():
            if not made.get([_LAYOUT_ID]):  # another process may have been quicker
                made.add([Entry(_LAYOUT_ID, layout.model_dump_json())])
        return cls(made, layout, encoders)

    def copied(self) -> Library:
        """A library in memory with what this one holds now; what becomes of either is nothing to the other."""
        self._read()
        index = MemoryIndex(self._index.num_dimensions)
        versions = [f"{_VERSION_PREFIX}{number}" for number in range(1, self._version + 1)]
        index.add(self._index.get([_LAYOUT_ID, *versions, *self._states]))
        return Library(index, self.layout, self.encoders)

    @property
    def encoders(self) -> Encoders:
        """The encoders, opened if they were not."""
        if self._encoders is None:
            self._encoders = open_encoders(self.layout.text_encoder, self.layout.image_encoder)
        return self._encoders

    @property
    def version(self) -> int:
        """The latest version; 0 while nothing has been added."""
        self._read()
        return self._version

    def __len__(self) -> int:
        """Cards in force."""
        self._read()
        return self._num_active

    # Changes.

    def add(self, cards: Sequence[EditCard]) -> Added:
        """Put cards in force, in one version; those they supersede are withdrawn in it.

        A card that is in force already is left as it is. One that was withdrawn comes back, with its new provenance.

        Raises:
            ImageError: An image is missing or cannot be read; nothing is added.
            InputError: A visual card for a library without an image encoder, or a superseded card that is not there.
        """
        stored = [stored_form(card) for card in cards]
        named = {
            card_id(card): (card, original, pictures) for (card, pictures), original in zip(stored, cards, strict=True)
        }
        self._check_encodable(cards)
        # Encoding takes longest and needs no lock; what was not known here is encoded under it.
        vectors = self._encoded(
            {name: original for name, (_, original, _) in named.items() if name not in self._states}
        )
        with self._index.writing() as seen:
            self._read(seen)
            return self._enter(named, vectors)

    def remove(self, ids: Sequence[str]) -> Version:
        """Withdraw cards, in one version; they can come back by a rollback.

        Raises:
            InputError: A card is not in force.
        """
        with self._index.writing() as seen:
            self._read(seen)
            for name in ids:
                self._require(name, is_active=True)
            turned = dict.fromkeys(ids)
            return self._write("remove", entered=(), withdrawn=list(turned))

    def erase(self, ids: Sequence[str]) -> Version:
        """Delete cards for good, with their images and every trace of them: no rollback brings them back.

        Readers that have not refreshed since may fail afterwards.

        Raises:
            InputError: There is no such card.
        """
        with self._index.writing() as seen:
            self._read(seen)
            for name in ids:
                self._require(name)
            gone = list(dict.fromkeys(ids))
            num_withdrawn = sum(self._states[name].is_active() for name in gone)
            version = self._noted("erase", num_withdrawn=num_withdrawn, num_active=self._num_active - num_withdrawn)
            self._index.add([_version_entry(version)], removing=gone)
            self._index.purge()
            self._read()
            return version

    def rollback(self, version: int) -> Version:
        """Put in force what was in force in an earlier version, as a new version.

        Raises:
            InputError: There is no such version.
        """
        with self._index.writing() as seen:
            self._read(seen)
            if not 0 <= version <= self._version:
                raise InputError(
                    f"the library was to return to version {version}.",
                    f"0 (empty) to {self._version}",
                    "see `reground library list --versions`.",
                )
            entered = [name for name, s in self._states.items() if s.is_active(version) and not s.is_active()]
            withdrawn = [name for name, s in self._states.items() if s.is_active() and not s.is_active(version)]
            return self._write("rollback", entered=entered, withdrawn=withdrawn, returned_to=version)

    # What is there.

    def cards(self, *, status: Status | None = "active", version: int | None = None) -> Iterator[StoredCard]:
        """Cards, in the order in which they first came into force.

        Args:
            status: Only those with this status; None: all.
            version: As they were in this version; None: as they are.
        """
        self._read()
        wanted = [
            name
            for name, state in sorted(self._states.items(), key=lambda item: (item[1].history[0], item[0]))
            if version is None or state.history[0] <= version
            if status is None or state.is_active(version) == (status == "active")
        ]
        for start in range(0, len(wanted), _ENCODED_AT_ONCE):
            for entry in self._index.get(wanted[start : start + _ENCODED_AT_ONCE]):
                yield self._stored(entry, version)

    def get(self, name: str) -> StoredCard:
        """One card, in force or withdrawn.

        Raises:
            InputError: There is no such card.
        """
        self._read()
        self._require(name)
        return self._stored(self._index.get([name])[0])

    def pictures(self, name: str) -> dict[str, bytes]:
        """The image files of a card as they came, by the names the stored card gives them."""
        self._read()
        self._require(name)
        return dict(self._index.get([name])[0].blobs)

    def images(self, name: str) -> list[Image.Image]:
        """The frames of a card's image, RGB; none for a textual card."""
        stored, pictures = self.get(name), self.pictures(name)
        frames: list[Image.Image] = []
        for address in stored.card.image.frames if stored.card.image is not None else ():
            if address in pictures:
                with Image.open(io.BytesIO(pictures[address])) as opened:
                    frames.append(opened.convert("RGB"))
            else:
                assert stored.card.image is not None
                frames += open_image(stored.card.image.model_copy(update={"frames": (address,)}))
        return frames

    def versions(self) -> list[Version]:
        """Every version, the first first."""
        self._read()
        names = [f"{_VERSION_PREFIX}{number}" for number in range(1, self._version + 1)]
        return [Version.model_validate_json(entry.record) for entry in self._index.get(names)]

    # Search.

    def refresh(self) -> None:
        """See what others have written since."""
        self._index.refresh()

    def search(
        self, side: Side, queries: Vector, limit: int, *, names: Sequence[Collection[str]] | None = None
    ) -> list[list[Match]]:
        """Matches among the cards in force, as of the last ``refresh``; see ``Index.search``."""
        return self._index.search(side, queries, limit, names=names)

    def vectors(self, ids: Sequence[str]) -> dict[str, Mapping[Side, Vector]]:
        """What cards are found by; for explaining a score."""
        return {entry.id: entry.vectors for entry in self._index.get(ids)}

    # Inside.

    def _enter(
        self,
        named: Mapping[str, tuple[EditCard, EditCard, tuple[Picture, ...]]],
        vectors: Mapping[str, Mapping[Side, Vector]],
    ) -> Added:
        known = tuple(name for name in named if name in self._states and self._states[name].is_active())
        fresh = [name for name in named if name not in known]
        replaced = dict.fromkeys(old for name in fresh for old in named[name][0].provenance.supersedes)
        for old in replaced:
            if old not in named:
                self._require(old)
        if not fresh:
            return Added(version=self._version, known=known)
        withdrawn = [old for old in replaced if old not in fresh and self._states[old].is_active()]
        missing = {name: named[name][1] for name in fresh if name not in self._states and name not in vectors}
        all_vectors = {**vectors, **self._encoded(missing)}
        number, now = self._version + 1, datetime.now(UTC)
        entries = {
            name: self._entry(named[name], number, all_vectors[name], now) for name in fresh if name not in self._states
        }
        cards = {name: _dated(named[name][0], now) for name in fresh}
        version = self._write("add", entered=fresh, withdrawn=withdrawn, new=entries, cards=cards)
        return Added(
            version=version.version,
            entered=tuple(fresh),
            known=known,
            withdrawn=tuple(withdrawn),
            contradictions=tuple(self._contradictions(cards)),
        )

    def _write(
        self,
        action: Literal["add", "remove", "rollback"],
        *,
        entered: Sequence[str],
        withdrawn: Sequence[str],
        new: Mapping[str, Entry] | None = None,
        cards: Mapping[str, EditCard] | None = None,
        returned_to: int | None = None,
    ) -> Version:
        """One version: entries that are new, entries that turn, and what is said about it, in one batch."""
        new = new or {}
        version = self._noted(
            action,
            num_entered=len(entered),
            num_withdrawn=len(withdrawn),
            num_active=self._num_active + len(entered) - len(withdrawn),
            returned_to=returned_to,
        )
        turning = [name for name in (*entered, *withdrawn) if name not in new]
        turned = []
        for entry in self._index.get(turning):
            state = self._states[entry.id].turned(version.version)
            vectors, kept = (entry.kept, {}) if state.is_active() else ({}, entry.vectors)
            card = (cards or {}).get(entry.id)
            record = entry.record if card is None else card.model_dump_json()
            turned.append(replace(entry, state=state.text(), vectors=vectors, kept=kept, record=record))
        self._index.add([*new.values(), _version_entry(version)], replacing=turned)
        if len(new) >= _ENCODED_AT_ONCE or version.version % _WRITES_BETWEEN_CARE == 0:
            self._index.maintain()
        self._take_in([*new.values(), *turned], version)
        return version

    def _noted(
        self,
        action: Literal["add", "remove", "erase", "rollback"],
        *,
        num_entered: int = 0,
        num_withdrawn: int = 0,
        num_active: int,
        returned_to: int | None = None,
    ) -> Version:
        return Version(
            version=self._version + 1,
            when=datetime.now(UTC),
            action=action,
            num_entered=num_entered,
            num_withdrawn=num_withdrawn,
            num_active=num_active,
            returned_to=returned_to,
        )

    def _entry(
        self,
        named: tuple[EditCard, EditCard, tuple[Picture, ...]],
        version: int,
        vectors: Mapping[Side, Vector],
        now: datetime,
    ) -> Entry:
        card, _, pictures = named
        state = _State((version,), question_key(card), fact_key(card) or "")
        return Entry(
            card_id(card),
            _dated(card, now).model_dump_json(),
            state.text(),
            vectors,
            blobs={picture.name: picture.content for picture in pictures},
            name=name_of(card),
        )

    def _contradictions(self, cards: Mapping[str, EditCard]) -> Iterator[Contradiction]:
        """Pairs of cards in force, each once, the later one in ``cards``."""
        suspects: dict[tuple[str, str], Literal["question", "fact"]] = {}
        for name in cards:
            state = self._states[name]
            for other in self._by_key[state.fact] if state.fact else ():
                suspects[name, other] = "fact"
            for other in self._by_key[state.question]:
                suspects[name, other] = "question"
        order = {name: position for position, name in enumerate(cards)}
        pairs = {
            pair: about
            for pair, about in suspects.items()
            if pair[0] != pair[1] and self._states[pair[1]].is_active()
            if order.get(pair[1], -1) < order[pair[0]]
        }
        others = {entry.id: entry for entry in self._index.get(list(dict.fromkeys(other for _, other in pairs)))}
        for (name, other), about in pairs.items():
            if contradict(cards[name], EditCard.model_validate_json(others[other].record)):
                yield Contradiction(entered=name, standing=other, about=about)

    def _check_encodable(self, cards: Sequence[EditCard]) -> None:
        if self.layout.image_encoder is None and any(card.image is not None for card in cards):
            raise InputError(
                "a visual card was to be added to a library without an image encoder.",
                "textual cards",
                "make another library with an image encoder, e.g. `--image-encoder phantom-med`.",
            )

    def _encoded(self, cards: Mapping[str, EditCard]) -> dict[str, dict[Side, Vector]]:
        """What cards are found by."""
        found: dict[str, dict[Side, Vector]] = {}
        names = list(cards)
        for start in range(0, len(names), _ENCODED_AT_ONCE):
            some = names[start : start + _ENCODED_AT_ONCE]
            found.update(zip(some, self._encode_some([cards[name] for name in some]), strict=True))
        return found

    def _encode_some(self, cards: Sequence[EditCard]) -> list[dict[Side, Vector]]:
        encoders, share = self.encoders, np.float32(self.layout.question_share)
        # What an image shows is not found by what a card says of it, so its statement needs no vector.
        stated = [card.statement for card in cards if card.image is None]
        texts_ND = encoders.text.encode([*(card.question for card in cards), *stated])
        questions_ND, statements = texts_ND[: len(cards)], iter(texts_ND[len(cards) :])
        seen = [card.image for card in cards if card.image is not None]
        images = iter(encoders.image.encode(seen)) if encoders.image is not None and seen else iter(())
        blank = np.zeros(encoders.image.num_dimensions if encoders.image is not None else 0, dtype=np.float32)
        vectors: list[dict[Side, Vector]] = []
        for card, question_D in zip(cards, questions_ND, strict=True):
            image_D = next(images) if card.image is not None else blank
            own: dict[Side, Vector] = {}
            if card.image is not None or self.layout.is_joined:
                own["image"] = np.concatenate([image_D, question_D])
            if card.image is None:
                own["text"] = share * question_D + (1 - share) * next(statements)
            vectors.append(own)
        return vectors

    def _read(self, seen: str | None = None) -> None:
        """Read the states of all cards if somebody has changed them since; ``seen`` names what the index sees."""
        name = self._index.refresh() if seen is None else seen
        if name == self._read_as:
            return
        self._states, self._by_key, self._version = {}, defaultdict(set), 0
        for entry, text in self._index.states():
            if entry.startswith(_VERSION_PREFIX):
                self._version = max(self._version, int(entry.removeprefix(_VERSION_PREFIX)))
            elif entry != _LAYOUT_ID:
                self._keep(entry, _State.read(text))
        self._num_active = sum(state.is_active() for state in self._states.values())
        self._read_as = name

    def _take_in(self, entries: Sequence[Entry], version: Version) -> None:
        """Know of one's own write without reading everything again."""
        for entry in entries:
            self._keep(entry.id, _State.read(entry.state))
        self._version, self._num_active = version.version, version.num_active
        self._read_as = self._index.seen

    def _keep(self, name: str, state: _State) -> None:
        self._states[name] = state
        self._by_key[state.question].add(name)
        if state.fact:
            self._by_key[state.fact].add(name)

    def _require(self, name: str, *, is_active: bool = False) -> None:
        known = [other for other, state in self._states.items() if not is_active or state.is_active()]
        if name in self._states and (not is_active or self._states[name].is_active()):
            return
        near = nearest(name, known)
        status = "withdrawn already" if name in self._states else "not in the library"
        raise InputError(
            f"the card {name!r} was asked for; it is {status}.",
            f"the id of one of {len(known)} cards",
            f"did you mean {near!r}?" if near else "see `reground library list`.",
        )

    def _stored(self, entry: Entry, version: int | None = None) -> StoredCard:
        state = self._states[entry.id]
        return StoredCard(
            id=entry.id,
            card=EditCard.model_validate_json(entry.record),
            status="active" if state.is_active(version) else "withdrawn",
            entered=state.history[0],
        )


def _version_entry(version: Version) -> Entry:
    return Entry(f"{_VERSION_PREFIX}{version.version}", version.model_dump_json())


def _dated(card: EditCard, now: datetime) -> EditCard:
    if card.provenance.when is not None:
        return card
    provenance: Provenance = card.provenance.model_copy(update={"when": now})
    return card.model_copy(update={"provenance": provenance})


def _read_layout(text: str, uri: str) -> Layout:
    try:
        layout = Layout.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            f"the library {uri!r} was made by another version of reground.",
            f"format {_FORMAT}",
            "open it with that version, export it, and import the export here.",
        ) from error
    if layout.format_version != _FORMAT:
        raise InputError(
            f"the library {uri!r} has the format {layout.format_version}.",
            f"format {_FORMAT}",
            "open it with the version that made it, export it, and import the export here.",
        )
    return layout


def _require_same(layout: Layout, encoders: Encoders | None, is_joined: bool, uri: str) -> None:
    given = None if encoders is None else (encoders.text.spec, encoders.image.spec if encoders.image else None)
    made = (layout.text_encoder, layout.image_encoder)
    if (given is not None and given != made) or (is_joined and not layout.is_joined):
        raise InputError(
            f"the library {uri!r} was opened with the encoders {given or made}, joined: {is_joined}.",
            f"what it was made with: {made}, joined: {layout.is_joined}",
            "leave both out, or make a new library and import an export of this one.",
        )
