"""Scores, margins and verdicts by hand; then whole routes over a small library."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from library_world import drug_card, quick_encoders, seen_card
from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.library.calibration import (
    SHIPPED_CALIBRATIONS,
    AskedQuery,
    Observation,
    calibrate,
    chosen_margin,
    observe,
    read_asked,
    read_calibration,
    way_budget,
)
from reground.library.encoders import Encoders, NgramEncoder
from reground.library.index import best_matches
from reground.library.routing import Calibration, Router, Threshold, ask_vectors, judged, margin_of, ways_of
from reground.library.store import Library
from reground.models.base import Query


@pytest.mark.reference
def test_the_joint_score_is_the_weighted_sum_of_two_cosines() -> None:
    """w cos(image) + (1 - w) cos(question): 0.25 * 0.8 + 0.75 * 0.6 = 0.65."""
    card = np.array([1.0, 0.0, 0.0, 1.0])  # image (1, 0), question (0, 1)
    asked = ask_vectors(np.array([[0.8, 0.6]]), np.array([[0.8, 0.6]]), 0.25)
    assert float(asked[0] @ card) == pytest.approx(0.65)
    assert ask_vectors(np.array([[1.0, 0.0]]), None, 0.25).tolist() == [[0.75, 0.0]]


@pytest.mark.reference
def test_the_text_score_is_the_mean_of_question_and_statement() -> None:
    library = Library.open("memory:", encoders=Encoders(NgramEncoder()))
    card = drug_card("velmora")
    library.add([card])
    asked_D, question_D, statement_D = NgramEncoder().encode(["what treats velmora?", card.question, card.statement])
    (match,) = library.search("text", asked_D[None], 1)[0]
    assert match.score == pytest.approx(float(asked_D @ question_D + asked_D @ statement_D) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "threshold", "verdict"),
    [
        ([], Threshold(score=0.1), "no_candidate"),
        ([0.9], None, "not_calibrated"),
        ([0.5, 0.1], Threshold(score=0.5), "below_threshold"),
        ([0.9, 0.8], Threshold(score=0.5, margin=0.2), "below_margin"),
        ([0.75, 0.5], Threshold(score=0.5, margin=0.25), "hit"),
        ([0.75], Threshold(score=0.5, margin=9), "hit"),
        ([-0.3], Threshold(score=-math.inf), "hit"),
    ],
)
def test_verdicts(scores: list[float], threshold: Threshold | None, verdict: str) -> None:
    assert judged(scores, threshold) == verdict


def test_small_parts_by_hand() -> None:
    assert margin_of([]) == margin_of([0.3]) == math.inf
    assert ways_of(Query(question="q")) == ("question",)
    assert ways_of(Query(question="q", image=ImageRef(frames=("a",)))) == ("image", "image_question")
    assert best_matches(np.array([1, 3, 3, 2], dtype=np.float32), ["d", "c", "b", "a"], 2) == [2, 1]
    assert way_budget("question", 0.04, 0.1, is_joined=False) == (0.04, 0.1)
    assert way_budget("image", 0.04, 0.1, is_joined=True) == (0.04, 0.1)
    seen = [Observation("image", 1, margin, right) for margin, right in ((0.3, True), (0.01, False), (0.1, True))]
    assert chosen_margin(seen, loss=0.4) == 0.1
    assert chosen_margin(seen, loss=0.5) == 0.3
    assert chosen_margin([]) == 0


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("colours")
    made = {"red": (250, 5, 5), "reddish": (245, 30, 20), "blue": (5, 5, 250)}
    for name, colour in made.items():
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")
    return {name: str(folder / f"{name}.png") for name in made}


@pytest.fixture
def library(colours: dict[str, str]) -> Library:
    made = Library.open("memory:", encoders=quick_encoders())
    made.add([drug_card("velmora"), drug_card("pellow", "osquine"), seen_card(colours["red"])])
    return made


def thresholds(library: Library, **scores: float) -> Calibration:
    return Calibration(
        thresholds={way: Threshold(score=score) for way, score in scores.items()},  # type: ignore[misc]
        text_encoder=library.layout.text_encoder,
        image_encoder=library.layout.image_encoder,
        num_cards=len(library),
        data="by hand",
        guarantee="none",
    )


def test_each_kind_of_query_asks_its_sides(library: Library, colours: dict[str, str]) -> None:
    router = Router(library, calibration=thresholds(library, question=0.35, image=0.8, image_question=0.35))
    text, seen, unrelated, both = router.route(
        [
            Query(question="Which medicine is the first drug for velmora?"),
            Query(question="Which condition is shown?", image=ImageRef(frames=(colours["reddish"],))),
            Query(question="How many legs has a spider?", image=ImageRef(frames=(colours["blue"],))),
            Query(question="What is the first drug for velmora?", image=ImageRef(frames=(colours["blue"],))),
        ]
    )
    assert [hit.card.subject for hit in text.hits] == ["velmora"] and set(text.candidates) == {"question", "named"}
    assert seen.hit is not None and seen.hit.way == "image" and seen.hit.card.percept == "a ring in the kidney"
    assert unrelated.abstains and set(unrelated.verdicts.values()) == {"below_threshold"}
    assert len(unrelated.candidates["image_question"]) == 2, "near misses are there to be looked at"
    assert [(hit.way, hit.card.subject) for hit in both.hits] == [("named", "velmora")]


def test_a_batch_routes_as_its_queries_do_one_by_one(library: Library, colours: dict[str, str]) -> None:
    queries = [
        Query(question="first drug for pellow?"),
        Query(question="Which condition is shown?", image=ImageRef(frames=(colours["red"],))),
        Query(question="?!"),
    ]
    router = Router(library)
    together = router.route(queries)
    alone = [router.route([query])[0] for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
        assert [hit.score for hit in one.hits] == pytest.approx([hit.score for hit in other.hits], abs=1e-6)
    assert router.route([]) == [] == router.lookup([])


def test_without_a_calibration_nothing_is_held_back_and_an_uncalibrated_way_gives_nothing(library: Library) -> None:
    query = Query(question="How many legs has a spider?")
    assert not Router(library).route([query])[0].abstains
    (route,) = Router(library, calibration=thresholds(library, image=0.5)).route([query])
    assert route.abstains and route.verdicts == {"question": "not_calibrated"}


def test_a_sentence_of_a_chain_finds_the_card_it_is_about(library: Library) -> None:
    router = Router(library, calibration=thresholds(library, sentence=0.35))
    hit, none = router.lookup(["the first drug for pellow is tarvexin.", "the image shows a star in the liver."])
    assert hit.hit is not None and hit.hit.card.subject == "pellow"
    assert none.abstains


def test_a_card_that_is_called_by_its_name_needs_no_likeness(library: Library, colours: dict[str, str]) -> None:
    library.add([drug_card("velmora ii"), drug_card("dr. pellow's sign")])
    closed = Router(library, calibration=thresholds(library, question=9, image_question=9, sentence=9))
    asked = ["To whom goes Velmora?", "And VELMORA (II)?", "Is dr. Pellow's sign bad?", "To whom goes velmorax?"]
    routes = closed.route([Query(question=text) for text in asked])
    assert [{hit.card.subject for hit in route.hits} for route in routes] == [
        {"velmora"},
        {"velmora", "velmora ii"},
        {"pellow", "dr. pellow's sign"},
        set(),
    ]
    (route,) = closed.route([Query(question="velmora?", image=ImageRef(frames=(colours["blue"],)))])
    assert [(hit.way, hit.card.subject) for hit in route.hits] == [("named", "velmora")]
    (looked_up,) = closed.lookup(["a star means velmora."])
    assert looked_up.verdicts == {"sentence": "below_threshold", "named": "hit"}


def test_a_named_card_takes_the_place_of_one_that_is_merely_near(library: Library) -> None:
    open_to_all = Router(library)
    (route,) = open_to_all.route([Query(question="What is the first drug for pellow?")])
    assert [hit.way for hit in route.hits] == ["named"]
    assert route.verdicts["question"] == "hit"


def test_at_most_three_cards_of_one_name_are_given_the_nearest_first() -> None:
    library = Library.open("memory:", encoders=quick_encoders())
    library.add([drug_card("velmora", f"drug number {number}") for number in range(5)])
    (route,) = Router(library).route([Query(question="Is drug number 3 right for velmora?")])
    assert len(route.hits) == 3 and len(route.candidates["named"]) == 5
    scores = [hit.score for hit in route.hits]
    assert scores == sorted(scores, reverse=True) and scores[0] == route.candidates["named"][0].score


def test_a_sentence_that_says_what_a_percept_says_finds_the_visual_card(
    library: Library, colours: dict[str, str]
) -> None:
    closed = Router(library, calibration=thresholds(library, sentence=9, image=9))
    asked = Query(question="Which condition?", image=ImageRef(frames=(colours["blue"],)))
    sentences = ["the image shows a ring in the kidney.", "the image shows a ring in the liver."]
    seen, other = closed.lookup(sentences, [asked, asked])
    assert [(hit.way, hit.card.percept) for hit in seen.hits] == [("percept", "a ring in the kidney")]
    assert other.abstains
    without_an_image, _ = closed.lookup(sentences, [Query(question="Which condition?")] * 2)
    assert without_an_image.abstains
    assert closed.lookup(sentences[:1])[0].abstains


def test_the_parts_of_a_joint_score_add_up(library: Library, colours: dict[str, str]) -> None:
    router = Router(library, image_share=0.6)
    (route,) = router.route([Query(question="What is shown?", image=ImageRef(frames=(colours["reddish"],)))])
    candidate = route.candidates["image"][0]
    parts = router.parts(route.query, candidate)
    assert 0.6 * parts["image"] + 0.4 * parts["question"] == pytest.approx(candidate.score, abs=1e-5)
    assert parts["image"] > 0.98
    assert router.parts(route.query, route.candidates["image_question"][0]).keys() == {"question"}


def test_one_library_in_place_of_two_asks_one_side(colours: dict[str, str]) -> None:
    joined = Library.open("memory:", encoders=quick_encoders(), is_joined=True)
    joined.add([drug_card("velmora"), seen_card(colours["red"])])
    text, seen = Router(joined).route(
        [
            Query(question="What is the first drug for velmora?"),
            Query(question="Which condition is shown?", image=ImageRef(frames=(colours["red"],))),
        ]
    )
    assert text.hit is not None and text.hit.card.subject == "velmora"
    assert seen.hit is not None and seen.hit.card.modality == "visual"
    assert set(seen.candidates) == {"image"} and len(seen.candidates["image"]) == 2
    assert Router(joined).lookup(["the first drug for velmora is x."])[0].hit is not None


def test_a_calibration_keeps_its_guarantee_and_fits_one_kind_of_library(
    library: Library, colours: dict[str, str]
) -> None:
    unrelated = [AskedQuery(Query(question=f"What colour has thing {number}?")) for number in range(100)]
    velmora = next(stored.id for stored in library.cards() if stored.card.subject == "velmora")
    related = [AskedQuery(Query(question="Which first drug for velmora?"), frozenset({velmora}))] * 3
    made = calibrate(
        Router(library),
        unrelated,
        related=related,
        alpha=0.05,
        delta=0.05,
        data="colours",
        num_cards=3,
        num_looked_up=3,
    )
    assert set(made.thresholds) == {"question"} and made.thresholds["question"].num_unrelated == 100
    named = calibrate(
        Router(library),
        [*unrelated, *related],
        alpha=0.05,
        delta=0.05,
        data="colours",
        num_cards=3,
        num_looked_up=3,
    )
    assert set(named.thresholds) == {"question"}, "a name has no threshold"
    assert "95" in made.guarantee or "0.95" in made.guarantee
    assert "image" in made.guarantee.split("receive nothing")[1]
    assert Calibration.model_validate_json(made.model_dump_json()) == made
    routes = Router(library, calibration=made).route([one.query for one in unrelated])
    assert sum(not route.abstains for route in routes) <= 5
    assert Router(library, calibration=made).route([related[0].query])[0].hits[0].id == velmora
    passing_over = AskedQuery(related[0].query, passed_over=frozenset({velmora}))
    observed = next(one for one in observe(Router(library), [passing_over], 3)[0] if one.way == "question")
    assert not observed.is_right and observed.margin == math.inf
    with pytest.raises(InputError, match="58 unrelated queries"):
        calibrate(Router(library), unrelated[:58], alpha=0.05, delta=0.05, data="d", num_cards=3, num_looked_up=3)
    with pytest.raises(InputError, match="calibrated for"):
        Router(Library.open("memory:", encoders=Encoders(NgramEncoder())), calibration=made)


def test_shipped_calibrations_say_what_they_are() -> None:
    for name in SHIPPED_CALIBRATIONS:
        shipped = read_calibration(name)
        assert "split calibration" in shipped.data and "confidence" in shipped.guarantee
        of_two_sides = set[str]() if shipped.is_joined else {"image_question"}
        assert set(shipped.thresholds) == {"question", "image", "sentence"} | of_two_sides
    with pytest.raises(InputError, match="cannot be read"):
        read_calibration("nowhere.json")


@pytest.mark.parametrize(
    ("line", "has_cards", "said"),
    [
        ('{"question": "q", "cards": ["c1"]}', False, "names 1 cards"),
        ('{"question": "q"}', True, "names 0 cards"),
        ('{"questio": "q"}', False, "question"),
        ("[]", False, "object"),
    ],
)
def test_questions_that_do_not_fit_are_refused_by_line(tmp_path: Path, line: str, has_cards: bool, said: str) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text("\n" + line)
    with pytest.raises(InputError, match=f"line 2: .*{said}"):
        read_asked(file, has_cards=has_cards)
