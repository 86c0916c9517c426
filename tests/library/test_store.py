"""The library: versions, batches, contradictions; the same in memory and on disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from library_world import MeanColour, drug_card, quick_encoders, seen_card
from reground.errors import ImageError, InputError, RegroundError
from reground.library import lance
from reground.library.card import card_id
from reground.library.encoders import Encoders, NgramEncoder
from reground.library.store import Library


@pytest.fixture(params=["memory", "disk"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Library]:
    """The same library each time it is asked for; on disk, opened anew."""
    held = Library.open("memory:", encoders=quick_encoders())

    def again() -> Library:
        if request.param == "memory":
            return held
        return Library.open(str(tmp_path / "library"), encoders=quick_encoders())

    return again


def ids(library: Library, **options: object) -> list[str]:
    return [stored.id for stored in library.cards(**options)]  # type: ignore[arg-type]


def test_a_card_comes_back_as_it_went_in(opened: Callable[[], Library], tiny_images: list[str]) -> None:
    cards = [drug_card("velmora"), seen_card(tiny_images[0])]
    added = opened().add(cards)
    assert (added.version, added.known, added.contradictions) == (1, (), ())
    library = opened()
    assert len(library) == 2 and library.version == 1
    assert set(ids(library)) == set(added.entered) == {card_id(card) for card in cards}
    back = library.get(added.entered[0])
    assert back.card.provenance.when is not None
    assert back.card.model_copy(update={"provenance": cards[0].provenance}) == cards[0]
    (frame,) = library.images(added.entered[1])
    assert frame.size == (16, 16)
    assert list(library.pictures(added.entered[1]).values()) == [Path(tiny_images[0]).read_bytes()]


def test_the_same_card_twice_is_one_card_and_no_version(opened: Callable[[], Library]) -> None:
    opened().add([drug_card("velmora"), drug_card("velmora")])
    again = opened().add([drug_card("velmora")])
    assert (again.version, again.entered, len(again.known), len(opened())) == (1, (), 1, 1)


def test_contradictions_are_reported_when_the_second_is_added(opened: Callable[[], Library]) -> None:
    first = opened().add([drug_card("velmora"), drug_card("pellow")])
    second = opened().add([drug_card("velmora", "osquine", question="Which medicine treats velmora?")])
    (pair,) = second.contradictions
    assert (pair.entered, pair.standing, pair.about) == (second.entered[0], first.entered[0], "fact")
    asked_alike = drug_card("velmora", "belumide").model_copy(update={"subject": None})
    assert [pair.about for pair in opened().add([asked_alike]).contradictions] == ["question"]
    opened().remove([first.entered[0], *second.entered])
    assert opened().add([drug_card("pellow", "tarvexin", question="What treats pellow?")]).contradictions == ()


def test_two_cards_of_one_batch_contradict_once(opened: Callable[[], Library]) -> None:
    added = opened().add([drug_card("velmora"), drug_card("velmora", "osquine")])
    assert len(added.contradictions) == 1


def test_a_card_that_supersedes_withdraws_the_other_in_the_same_version(opened: Callable[[], Library]) -> None:
    (old,) = opened().add([drug_card("velmora")]).entered
    added = opened().add([drug_card("velmora", "osquine", supersedes=(old,))])
    assert (added.version, added.withdrawn, added.contradictions) == (2, (old,), ())
    assert ids(opened()) == list(added.entered)
    assert opened().get(old).status == "withdrawn"
    # The earlier fact again, in the place of the later one: the first card comes back with its new provenance.
    back = opened().add([drug_card("velmora", supersedes=added.entered)])
    assert (back.entered, back.withdrawn) == ((old,), added.entered)
    assert opened().get(old).card.provenance.supersedes == added.entered


def test_any_earlier_version_can_be_had_back(opened: Callable[[], Library]) -> None:
    cards = [drug_card(name) for name in ("velmora", "pellow", "dorrin")]
    states: list[list[str]] = [[]]
    for card in cards:
        opened().add([card])
        states.append(sorted(ids(opened())))
    opened().remove([states[3][0], states[3][1]])
    states.append(sorted(ids(opened())))
    for version, held in enumerate(states):
        made = opened().rollback(version)
        assert made.returned_to == version and made.num_active == len(held)
        assert sorted(ids(opened())) == held
        assert sorted(ids(opened(), version=version)) == held
        found = opened().search("text", NgramEncoder().encode(["first drug"]), 10)[0]
        assert sorted(match.id for match in found) == held
    assert [one.version for one in opened().versions()] == list(range(1, 10))
    assert [one.action for one in opened().versions()][3:5] == ["remove", "rollback"]


def test_erased_cards_leave_nothing_behind(opened: Callable[[], Library], tmp_path: Path) -> None:
    (name, kept) = opened().add([drug_card("velmora", "zzsecretzz"), drug_card("pellow")]).entered
    assert opened().erase([name]).num_active == 1
    opened().rollback(1)
    assert ids(opened(), status=None) == [kept]
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "library").rglob("*") if path.is_file())
    assert b"zzsecretzz" not in on_disk


def test_what_is_too_young_to_be_let_go_of_is_tried_again_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a clock was put back: what was erased is of an hour that is still to come."""
    library = Library.open(str(tmp_path / "library"), encoders=quick_encoders())
    (name, other) = library.add([drug_card("velmora", "zzsecretzz"), drug_card("pellow")]).entered
    with monkeypatch.context() as patched:
        patched.setattr(lance, "_AT_ONCE", timedelta(seconds=2))
        patched.setattr(lance.time, "sleep", lambda _: None)
        library.erase([name])  # a moment later it is old enough
        patched.setattr(lance, "_AT_ONCE", timedelta(hours=1))
        patched.setattr(lance, "_PURGE_S", 0)
        with pytest.raises(RegroundError, match="still hold it"):
            library.erase([other])
    again = Library.open(str(tmp_path / "library"), encoders=quick_encoders())
    assert ids(again, status=None) == []
    (third,) = again.add([drug_card("rismeoma")]).entered
    again.erase([third])
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "library").rglob("*") if path.is_file())
    assert b"zzsecretzz" not in on_disk and b"pellow" not in on_disk


def test_a_batch_with_a_missing_image_adds_nothing(opened: Callable[[], Library]) -> None:
    with pytest.raises(ImageError):
        opened().add([drug_card("velmora"), seen_card("nowhere.png")])
    assert opened().version == 0 and len(opened()) == 0


@pytest.mark.parametrize("change", ["remove", "get", "erase", "supersede", "rollback"])
def test_what_is_not_there_is_refused(opened: Callable[[], Library], change: str) -> None:
    opened().add([drug_card("velmora")])
    with pytest.raises(InputError) as caught:
        match change:
            case "supersede":
                opened().add([drug_card("pellow", supersedes=("c000000000000",))])
            case "rollback":
                opened().rollback(2)
            case _:
                argument = "c000000000000"
                getattr(opened(), change)(argument if change == "get" else [argument])
    assert caught.value.accepted
    assert opened().version == 1


def test_a_library_is_opened_only_as_it_was_made(tmp_path: Path, tiny_images: list[str]) -> None:
    uri = str(tmp_path / "library")
    texts = Encoders(NgramEncoder())
    with pytest.raises(InputError, match="there is none"):
        Library.open(uri, is_new=False)
    assert not Path(uri).exists()
    with pytest.raises(InputError, match="without an image encoder"):
        Library.open(uri, encoders=texts).add([seen_card(tiny_images[0])])
    with pytest.raises(InputError, match="was opened with the encoders"):
        Library.open(uri, encoders=quick_encoders())
    with pytest.raises(InputError, match="joined: True"):
        Library.open(uri, is_joined=True)
    with pytest.raises(InputError, match="there is one"):
        Library.open(uri, encoders=texts, is_new=True)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be opened"):
        Library.open(str(tmp_path / "file"), encoders=texts)


def test_a_joined_library_finds_every_card_on_one_side(tiny_images: list[str]) -> None:
    library = Library.open("memory:", encoders=quick_encoders(), is_joined=True)
    library.add([drug_card("velmora"), seen_card(tiny_images[0])])
    asked = np.ones((1, MeanColour.num_dimensions + 256), dtype=np.float32)
    assert len(library.search("image", asked, 5)[0]) == 2


def test_a_copy_in_memory_goes_its_own_way(opened: Callable[[], Library], tiny_images: list[str]) -> None:
    library = opened()
    (gone,) = library.add([drug_card("velmora")]).entered
    library.add([drug_card("pellow"), seen_card(tiny_images[0])])
    library.remove([gone])
    copy = library.copied()
    assert list(copy.cards(status=None)) == list(library.cards(status=None))
    assert copy.versions() == library.versions()
    copy.rollback(1)
    library.add([drug_card("zublitis")])
    assert [stored.card.subject for stored in copy.cards()] == ["velmora"]
    assert len(library) == 3
    asked_BD = library.encoders.text.encode(["velmora"])
    assert [[match.id for match in found] for found in copy.search("text", asked_BD, 5)] == [[gone]]


def test_a_reader_keeps_its_version_until_it_refreshes(tmp_path: Path) -> None:
    """Both sides are read from one version, whatever is written between the two searches."""
    uri = str(tmp_path / "library")
    writer, reader = (Library.open(uri, encoders=quick_encoders()) for _ in range(2))
    writer.add([drug_card("velmora")])
    reader.refresh()
    writer.add([drug_card("pellow")])
    asked = NgramEncoder().encode(["first drug"])
    assert len(reader.search("text", asked, 5)[0]) == 1
    reader.refresh()
    assert len(reader.search("text", asked, 5)[0]) == 2


_WRITER = """
import sys
sys.path.insert(0, {tests!r})
from library_world import drug_card, quick_encoders, seen_card
from reground.library.store import Library
library = Library.open({uri!r}, encoders=quick_encoders())
for number in range(10_000):
    name = f"{{sys.argv[1]}}-{{number}}"
    old = library.add([drug_card(name), seen_card({image!r}, name)]).entered[0]
    added = library.add([drug_card(name, "osquine", supersedes=(old,)), seen_card({image!r}, name + " late")])
    print(added.version, flush=True)
"""


def test_a_killed_writer_leaves_its_last_whole_version(tmp_path: Path, tiny_images: list[str]) -> None:
    """SIGKILL at any moment: each acknowledged version is there, none is there by half, and writing goes on."""
    uri = str(tmp_path / "library")
    script = _WRITER.format(tests=str(Path(__file__).parent.parent), uri=uri, image=tiny_images[0])
    for attempt, pause_s in enumerate((0.02, 0.13)):
        writer = subprocess.Popen([sys.executable, "-c", script, str(attempt)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(pause_s)
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.strip().isdigit())])
        writer.wait()
        writer.stdout.close()
        library = Library.open(uri, encoders=quick_encoders())
        assert library.version >= acknowledged
        entered = Counter((stored.entered, stored.card.modality) for stored in library.cards(status=None))
        for version in library.versions():
            # Each version of the writer brings one card to each side.
            assert entered[version.version, "textual"] == entered[version.version, "visual"] == 1
            assert len(list(library.cards(version=version.version))) == version.num_active
    added = library.add([drug_card("somebody else's")])
    assert added.version == library.version == len(library.versions())


def test_readers_see_whole_versions_while_a_writer_writes(tmp_path: Path, tiny_images: list[str]) -> None:
    uri = str(tmp_path / "library")
    reader = Library.open(uri, encoders=quick_encoders())
    script = _WRITER.format(tests=str(Path(__file__).parent.parent), uri=uri, image=tiny_images[0])
    writer = subprocess.Popen([sys.executable, "-c", script, "w"], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        text = NgramEncoder().encode(["first drug"])
        image = np.ones((1, MeanColour.num_dimensions + 256), dtype=np.float32)
        seen = set()
        num_reads, until = 0, time.monotonic() + 60
        while num_reads < 25 or (len(seen) < 2 and time.monotonic() < until):  # a busy machine keeps the writer waiting
            num_reads += 1
            reader.refresh()
            texts, images = (
                len(reader.search(side, asked, 10_000)[0]) for side, asked in (("text", text), ("image", image))
            )
            assert texts == (images + 1) // 2, "the two sides are of different versions"
            seen.add(images)
        assert len(seen) > 1, "the writer wrote nothing meanwhile"
    finally:
        writer.kill()
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
