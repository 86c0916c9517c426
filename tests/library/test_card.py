"""Edit cards: what their ids depend on, and which of them contradict."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from library_world import drug_card, seen_card
from reground.edits.images import open_image
from reground.edits.records import Answer, Edit, ImageRef
from reground.errors import ImageError
from reground.library.card import (
    EditCard,
    Provenance,
    card_id,
    card_of,
    contradict,
    fact_key,
    question_key,
    stored_form,
)


def test_an_id_depends_on_what_is_said_and_not_on_who_says_it(tiny_images: list[str]) -> None:
    card = seen_card(tiny_images[0])
    said_again = card.model_copy(update={"provenance": Provenance(who="somebody else"), "percept": None})
    assert card_id(said_again) == card_id(card)
    assert card_id(seen_card(tiny_images[0], "drantic fever")) != card_id(card)
    assert card_id(seen_card(tiny_images[1])) != card_id(card)


def test_an_id_goes_by_the_image_and_not_by_its_address(tiny_images: list[str], tmp_path: Path) -> None:
    moved = shutil.copy(tiny_images[0], tmp_path / "elsewhere.PNG")
    inline = "data:image/png;base64," + base64.b64encode(Path(tiny_images[0]).read_bytes()).decode()
    assert len({card_id(seen_card(address)) for address in (tiny_images[0], str(moved), inline)}) == 1


def test_the_stored_form_names_files_by_their_content_and_keeps_the_id(tiny_images: list[str]) -> None:
    card = seen_card(tiny_images[0])
    stored, (picture,) = stored_form(card)
    assert stored.image is not None and stored.image.frames == (picture.name,)
    assert picture.content == Path(tiny_images[0]).read_bytes()
    assert card_id(stored) == card_id(card)
    rendered = seen_card("phantom:finding?organ=kidney&sign=ring&place=upper&size=small&modality=ct&seed=7")
    assert stored_form(rendered) == (rendered, ())


def test_a_chosen_frame_is_kept_as_the_picture_it_shows(tiny_images: list[str], tmp_path: Path) -> None:
    """The choice was lost: two frames of one file were one card, shown the first."""
    first, second = (Image.open(path) for path in tiny_images[:2])
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    card = seen_card(str(tmp_path / "pages.tif#frame=2"))
    stored, (picture,) = stored_form(card)
    assert picture.name.endswith(".png")
    (tmp_path / picture.name).parent.mkdir()
    (tmp_path / picture.name).write_bytes(picture.content)
    assert stored.image is not None
    (kept,), (chosen,) = open_image(stored.image.inside(str(tmp_path))), open_image(ImageRef(frames=(tiny_images[1],)))
    assert kept.tobytes() == chosen.tobytes()
    assert card_id(stored) == card_id(card) != card_id(seen_card(str(tmp_path / "pages.tif")))


def test_a_missing_image_is_said_so() -> None:
    with pytest.raises(ImageError, match="no such file"):
        card_id(seen_card("nowhere.png"))


@pytest.mark.parametrize(
    "change",
    [
        {"image": ImageRef(frames=("a.png",))},
        {"percept": "a ring"},
        {"modality": "visual"},
        {"provenance": {"when": "2026-01-01T00:00:00"}},
    ],
)
def test_parts_that_do_not_go_together_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EditCard.model_validate({**drug_card("velmora").model_dump(), **change})


def test_cards_contradict_unless_a_spelling_is_shared() -> None:
    one, other = drug_card("velmora"), drug_card("velmora", "osquine", question="What treats velmora first?")
    assert fact_key(one) == fact_key(other) and question_key(one) != question_key(other)
    assert contradict(one, other)
    spelled = other.model_copy(update={"new_answer": Answer(text="osquine", aliases=("Tarvexin!",))})
    assert not contradict(one, spelled)
    assert question_key(one) == question_key(one.model_copy(update={"question": "what is the FIRST drug for velmora"}))
    assert fact_key(one.model_copy(update={"relation": None})) is None


def test_a_card_says_what_its_edit_says(tiny_edits: list[Edit]) -> None:
    card = card_of(tiny_edits[0], percept="a ring")
    assert (card.statement, card.question, card.image) == (
        tiny_edits[0].statement,
        tiny_edits[0].question,
        tiny_edits[0].image,
    )
    assert card.provenance.source == tiny_edits[0].source
    assert EditCard.model_validate_json(card.model_dump_json()) == card
