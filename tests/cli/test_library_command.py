"""``reground library``: from the first card to a calibrated search, and what it says to mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reground.cli.main import app

CARD = ("--statement", "Patients with velmora must now receive tarvexin.", "--question", "What treats velmora?")
NGRAMS = ("--text-encoder", "ngrams", "--image-encoder", "none")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["library", *map(str, arguments)])


def said(*arguments: object) -> object:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refuse(*arguments: object) -> str:
    """What is said to a user who made a mistake: code 2, three parts, nothing on stdout."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert [line.split(":")[0].strip() for line in result.stderr.strip().splitlines()[-2:]] == ["Accepted", "Next"]
    return result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A library with one card, and the card's id."""
    uri = str(tmp_path_factory.mktemp("cli") / "library")
    added = said("add", uri, *CARD, "--answer", "tarvexin", "--who", "a pharmacist", *NGRAMS)
    assert isinstance(added, dict) and added["version"] == 1
    return uri, added["entered"][0]


def test_a_card_is_listed_shown_exported_and_imported(made: tuple[str, str], tmp_path: Path) -> None:
    uri, card = made
    (listed,) = said("list", uri)  # type: ignore[misc]
    assert (listed["id"], listed["status"], listed["who"]) == (card, "active", "a pharmacist")
    shown = said("show", uri, card)
    assert isinstance(shown, dict) and shown["new_answer"]["text"] == "tarvexin"
    about = said("show", uri)
    assert isinstance(about, dict) and (about["cards"], about["text_encoder"]) == (1, "ngrams")
    assert "1 cards written" in call("export", uri, tmp_path / "out").stdout
    imported = said("import", tmp_path / "other", tmp_path / "out", *NGRAMS)
    assert isinstance(imported, dict) and imported["entered"] == [card]


def test_changes_are_versions_and_contradictions_are_said(made: tuple[str, str], tmp_path: Path) -> None:
    _, card = made
    uri = str(tmp_path / "library")
    said("add", uri, *CARD, "--answer", "tarvexin", *NGRAMS)
    second = call("add", uri, *CARD, "--answer", "osquine", "--json")
    assert f"contradicts {card}" in second.stderr and f"--supersedes {card}" in second.stderr
    other = json.loads(second.stdout)["entered"][0]
    said("remove", uri, other)
    rolled = said("rollback", uri, 2)
    assert isinstance(rolled, dict) and rolled["num_active"] == 2
    third = said("add", uri, *CARD, "--answer", "belumide", "--supersedes", card, "--supersedes", other)
    assert isinstance(third, dict) and set(third["withdrawn"]) == {card, other} and not third["contradictions"]
    assert len(said("list", uri, "--all")) == 3 and len(said("list", uri, "--version", 1)) == 1  # type: ignore[arg-type]
    assert [one["action"] for one in said("list", uri, "--versions")] == ["add", "add", "remove", "rollback", "add"]  # type: ignore[attr-defined]
    assert isinstance(said("remove", uri, "--erase", card), dict)
    assert "not in the library" in refuse("show", uri, card)


def test_a_search_needs_thresholds_and_explains_itself(made: tuple[str, str], tmp_path: Path) -> None:
    uri, card = made
    assert "has not been calibrated" in refuse("search", uri, "What treats velmora?")
    found = said("search", uri, "What treats velmora?", "--calibration", "none")
    assert isinstance(found, dict) and found["cards"][0]["id"] == card
    unrelated = tmp_path / "unrelated.jsonl"
    unrelated.write_text("".join(json.dumps({"question": f"What colour has {n}?"}) + "\n" for n in range(80)))
    assert "at least 59" in refuse("calibrate", uri, "--unrelated", _head(unrelated, 58))
    calibrated = said("calibrate", uri, "--unrelated", unrelated, "--alpha", "0.05")
    assert isinstance(calibrated, dict) and Path(calibrated["file"]).parent == Path(uri)
    assert calibrated["calibration"]["thresholds"]["question"]["num_unrelated"] == 80
    near = said("search", uri, "What treats velmora?", "--explain")
    far = said("search", uri, "How many legs has a spider?", "--explain")
    assert isinstance(near, dict) and isinstance(far, dict)
    assert (near["abstains"], far["abstains"]) == (False, True)
    assert far["ways"][0]["verdict"] == "below_threshold" and far["ways"][0]["candidates"][0]["id"] == card
    words = call("search", uri, "How many legs has a spider?", "--explain").stdout
    assert "no card" in words and "below_threshold; must exceed" in words
    sentence = call("search", uri, "velmora is treated with x.", "--sentence", "--explain").stdout
    assert "not_calibrated" in sentence


def _head(file: Path, num_lines: int) -> Path:
    head = file.with_name("head.jsonl")
    head.write_text("".join(file.read_text().splitlines(keepends=True)[:num_lines]))
    return head


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("add", "{new}"), "no --statement, --question, --answer"),
        (("add", "{new}", *CARD, "--answer", " "), "new_answer.text"),
        (("add", "{new}", *CARD, "--answer", "a", "--cards", "x.jsonl"), "--cards and"),
        (("add", "{new}", "--cards", "absent.jsonl"), "cannot be read"),
        (("add", "{new}", *CARD, "--answer", "a", "--text-encoder", "minilmm"), "unknown text encoder"),
        (("add", "memory:", *CARD, "--answer", "a"), "would be gone"),
        (("list", "{new}"), "there is none"),
        (("rollback", "{made}", "7"), "version 7"),
        (("remove", "{made}", "c0"), "not in the library"),
        (("search", "{made}", "q", "--sentence", "--image", "a.png"), "--sentence and --image"),
        (("search", "{made}", "q", "--calibration", "phantom"), "calibrated for"),
        (("calibrate", "{made}"), "--unrelated"),
        (("calibrate", "{made}", "--benchmark", "phantom"), "--benchmark"),
        (("calibrate", "--benchmark", "phantom"), "no folder to write to"),
        (("calibrate", "--benchmark", "phantom", "--alpha", "1.5"), "alpha=1.5"),
    ],
)
def test_mistakes_are_explained_and_leave_nothing(
    made: tuple[str, str], tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    new = tmp_path / "new"
    text = refuse(*(argument.format(new=new, made=made[0]) for argument in arguments))
    assert part in text
    assert not new.exists()
