"""Export and import: the same cards, the same ids, the same images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from library_world import drug_card, quick_encoders, seen_card
from reground.errors import InputError, RecordError
from reground.library.exchange import CARDS_FILE, export_cards, read_cards
from reground.library.store import Library


@pytest.fixture
def exported(tiny_images: list[str], tmp_path: Path) -> tuple[Library, Path]:
    library = Library.open("memory:", encoders=quick_encoders())
    rendered = "phantom:finding?organ=kidney&sign=ring&place=upper&size=small&modality=ct&seed=7"
    added = library.add([drug_card("velmora"), seen_card(tiny_images[0]), seen_card(rendered), drug_card("gone")])
    library.remove([added.entered[3]])
    assert export_cards(library, tmp_path / "out") == 3
    return library, tmp_path / "out"


def test_a_round_trip_keeps_everything(exported: tuple[Library, Path], tmp_path: Path) -> None:
    library, folder = exported
    other = Library.open("memory:", encoders=quick_encoders())
    other.add(read_cards(folder))
    assert {one.id: one.card for one in other.cards()} == {one.id: one.card for one in library.cards()}
    for stored in library.cards():
        assert other.pictures(stored.id) == library.pictures(stored.id)
    export_cards(other, tmp_path / "again")
    for file in folder.rglob("*"):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_withdrawn_cards_are_exported_if_asked_for_and_not_put_in_force(
    exported: tuple[Library, Path], tmp_path: Path
) -> None:
    library, _ = exported
    assert export_cards(library, tmp_path / "all", status=None) == 4
    assert len(read_cards(tmp_path / "all")) == 3
    assert len(read_cards(tmp_path / "all", status=None)) == 4


def test_an_export_overwrites_nothing(exported: tuple[Library, Path]) -> None:
    library, folder = exported
    with pytest.raises(InputError, match="holds something"):
        export_cards(library, folder)


def test_an_image_that_was_changed_is_noticed(exported: tuple[Library, Path], tiny_images: list[str]) -> None:
    _, folder = exported
    (picture,) = (folder / "images").iterdir()
    picture.write_bytes(Path(tiny_images[1]).read_bytes())
    with pytest.raises(RecordError, match="is not that of the content"):
        read_cards(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"statement": ""}, "statement"),
        ({"status": "maybe"}, "status"),
        ({"question": None}, "question"),
        ({"more": 1}, "more"),
        ("{", "not a card"),
        ("3", "not a card"),
    ],
)
def test_a_line_that_is_no_card_is_named(exported: tuple[Library, Path], change: object, said: str) -> None:
    _, folder = exported
    file = folder / CARDS_FILE
    first, *others = file.read_text().splitlines()
    bad = change if isinstance(change, str) else json.dumps({**json.loads(first), **change})  # type: ignore[dict-item]
    file.write_text("\n".join([*others, bad]))
    with pytest.raises(RecordError, match=f"line 3: .*{said}"):
        read_cards(folder)


def test_files_without_cards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no card"):
        read_cards(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_cards(tmp_path / "absent.jsonl")
