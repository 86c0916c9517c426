"""What is the method's own: which questions receive which cards, before and while thinking, and undoing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reground.edits.records import Answer, Edit, ImageRef
from reground.errors import ArtifactError, InputError, RecipeError, RecordError
from reground.library.card import card_of
from reground.library.routing import Calibration, Threshold
from reground.library.store import Library
from reground.methods.chain import EditChain
from reground.methods.crane.model import CraneModel
from reground.methods.registry import create_editor, find_artifact
from reground.models.base import Capability, Delimiters, ModelInfo, Output, Query, TargetScore


class Teller:
    """A model that writes what a function of the query says, and remembers what it was asked."""

    info = ModelInfo(name="teller", revision="1", dtype="none", device="cpu")
    delimiters = Delimiters()

    def __init__(self, tell: Callable[[Query], str], *, goes_on: bool = True) -> None:
        self._tell = tell
        self.capabilities: frozenset[Capability] = frozenset({"generate", "score", "notes"})
        if goes_on:
            self.capabilities |= {"begun_chains"}
        self.asked: list[Query] = []

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        self.asked += queries
        texts = [self._tell(query) for query in queries]
        return [[Output(text=text, num_tokens=len(text.split()), is_truncated=False)] * num_samples for text in texts]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        return [TargetScore(top1_share=float(bool(q.note)), log_prob=0.0, num_tokens=1) for q in queries]

    def fingerprint(self, queries: Sequence[Query]) -> str:
        return repr(queries)


def told(chain: str, answer: str) -> str:
    return f"<think> {chain}</think><answer> {answer}</answer>"


def reads_country(query: Query) -> str:
    """Follows the chain of facts, and a card on where the maker is based if it has one when it comes to that."""
    if "country" not in query.question:
        return told("grass is green.", "green")
    start = "the device is lorvexcore. lorvexcore is made by togronmed."
    if query.note and "togronmed" in query.note:
        return told(f"{start} by the note togronmed is based in pruspenland.", "pruspenland")
    return told(f"{start} togronmed is based in valmia.", "valmia")


def textual(subject: str, question: str, new: str, prior: str, relation: str = "country") -> Edit:
    return Edit(
        subject=subject,
        relation=relation,
        modality="textual",
        question=question,
        new_answer=Answer(text=new),
        prior_answer=Answer(text=prior),
        statement=f"The company {subject} must now be addressed in {new}.",
    )


def visual(image: str, prior: Answer | None = None) -> Edit:
    return Edit(
        subject="ring in the kidney",
        relation="condition",
        modality="visual",
        question="which condition is this?",
        image=ImageRef(frames=(image,)),
        new_answer=Answer(text="ostrulia"),
        prior_answer=prior,
        statement="A ring in the kidney must now be read as ostrulia.",
    )


COUNTRY = textual("togronmed", "where is togronmed based?", "pruspenland", "valmia")
AGAIN = textual("togronmed", "in which country is togronmed?", "ostraland", "pruspenland")
OTHER = textual("glofecorp", "where is glofecorp based?", "keprondia", "valmia")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Routing by names alone, which needs no weights, with thresholds that stand in for calibrated ones."""
    ways = {way: Threshold(score=0.25) for way in ("question", "image", "image_question", "sentence")}
    calibration = Calibration(
        thresholds=ways,
        text_encoder="ngrams",
        image_encoder="phantom-med",
        num_cards=1,
        data="by hand",
        guarantee="none",
    )
    file = tmp_path / "calibration.json"
    file.write_text(calibration.model_dump_json(), encoding="utf-8")
    return {"text_encoder": "ngrams", "calibration": str(file)}


def edited(model: Teller, edits: Sequence[Edit], settings: dict[str, Any]) -> CraneModel:
    made = create_editor("crane-prompt", settings).apply(model, edits)
    assert isinstance(made, CraneModel)
    return made


def texts(model: CraneModel, *questions: str) -> list[str]:
    return [output[0].text for output in model.generate([Query(question=question) for question in questions])]


def test_a_question_receives_its_card_and_another_goes_to_the_model_as_it_is(settings: dict[str, Any]) -> None:
    model = Teller(reads_country)
    asked = [Query(question="where is togronmed based?"), Query(question="what colour is grass?", note="mine")]
    with edited(model, [COUNTRY], settings) as crane:
        crane.generate(asked)
        with_card, unchanged = (q for q in model.asked if q.question == asked[0].question), asked[1]
        note = next(with_card).note
        assert note is not None and note.startswith("[card]\nstates: The company togronmed")
        assert "new answer: pruspenland" in note and "made for" not in note
        assert unchanged in model.asked
        assert [score.top1_share for score in crane.score(asked[:1], ["x"])] == [1.0]
    assert crane.score(asked[:1], ["x"])[0].top1_share == 0.0


def test_a_card_that_the_question_never_names_is_found_while_thinking(settings: dict[str, Any]) -> None:
    model = Teller(reads_country)
    question = "which country is the maker of this device in?"
    with edited(model, [COUNTRY, OTHER], settings) as crane:
        assert texts(crane, question)[0].endswith(
            "by the note togronmed is based in pruspenland.</think><answer> pruspenland</answer>"
        )
        first, second = model.asked
        assert first.note is None and first.chain_start is None
        assert second.chain_start == " the device is lorvexcore. lorvexcore is made by togronmed."
        assert second.note is not None and "pruspenland" in second.note and "glofecorp" not in second.note
        assert (crane.usage.num_inserted, crane.usage.num_given) == (1, 0)
        assert crane.usage.num_lookups >= 2
        assert crane.details["usage"]["num_queries"] == 1


def test_a_model_that_cannot_go_on_is_asked_again_from_the_beginning(settings: dict[str, Any]) -> None:
    model = Teller(reads_country, goes_on=False)
    with edited(model, [COUNTRY], settings) as crane:
        assert texts(crane, "which country is the maker of this device in?")[0].endswith(
            "<answer> pruspenland</answer>"
        )
    assert [query.chain_start for query in model.asked] == [None, None]


@pytest.mark.parametrize(
    ("changed", "query"),
    [
        ({"looks_up": False}, {}),
        ({"max_lookups": 1}, {}),
        ({}, {"is_thinking": False}),
        ({}, {"chain_tokens": 8}),
    ],
)
def test_lookups_are_bounded_and_can_be_left_out(
    settings: dict[str, Any], changed: dict[str, Any], query: dict[str, Any]
) -> None:
    model = Teller(reads_country)
    with edited(model, [COUNTRY], {**settings, **changed}) as crane:
        crane.generate([Query(question="which country is the maker of this device in?", **query)])
    assert len(model.asked) == 1


def leaves_cards(query: Query) -> str:
    """Speaks of a card it is given, and says what it would have said without."""
    start = "the note is on another company. " if query.note else ""
    return told(f"{start}togronmed is based in valmia.", "valmia")


def test_a_question_whose_card_is_left_is_handed_back_to_the_unedited_model(settings: dict[str, Any]) -> None:
    query = Query(question="where is togronmed based?", options=("valmia", "pruspenland"))
    model = Teller(leaves_cards)
    (plain,) = model.generate([query])
    settings["corrects"] = False
    with edited(model, [COUNTRY], settings) as crane:
        assert crane.generate([query]) == [plain]
        assert (crane.usage.num_given, crane.usage.num_handed_back) == (1, 1)
    with edited(model, [COUNTRY], {**settings, "hands_back": False}) as crane:
        assert "another company" in crane.generate([query])[0][0].text
        assert crane.usage.num_handed_back == 0


@pytest.mark.parametrize("settings_of_query", [{"is_thinking": False}, {"chain_tokens": 8}])
def test_a_question_whose_chain_is_not_read_is_handed_back_alone_as_in_a_batch(
    settings: dict[str, Any], settings_of_query: dict[str, Any]
) -> None:
    query = Query(question="where is togronmed based?", **settings_of_query)
    model = Teller(leaves_cards)
    (plain,) = model.generate([query])
    with edited(model, [COUNTRY], settings) as crane:
        assert crane.generate([query]) == [plain]
        assert crane.generate([query, Query(question="what colour is grass?")])[0] == plain


def test_a_card_left_while_thinking_gives_back_what_stood_there_and_is_not_asked_for_again(
    settings: dict[str, Any],
) -> None:
    model = Teller(leaves_cards)
    query = Query(question="which country is the maker of this device in?")
    (plain,) = model.generate([query])
    model.asked.clear()
    with edited(model, [COUNTRY], {**settings, "corrects": False}) as crane:
        assert crane.generate([query]) == [plain]
    assert [bool(asked.note) for asked in model.asked] == [False, True]


def test_a_chain_handed_back_is_looked_up_in_without_the_card_that_was_left(settings: dict[str, Any]) -> None:
    """The question names one company; the chain of the unedited model then comes to another, which has a card too."""

    def tell(query: Query) -> str:
        if "glofecorp" in (query.note or "") or query.chain_start:
            return told(f"{query.chain_start or ''} by the note glofecorp is based in keprondia.", "keprondia")
        start = "the note is not asked. so it is elsewhere." if query.note else "togronmed belongs to glofecorp."
        return told(f"{start} it is based in valmia.", "valmia")

    with edited(Teller(tell), [COUNTRY, OTHER], settings) as crane:
        (text,) = texts(crane, "what about the mother of togronmed?")
    assert text.endswith("<answer> keprondia</answer>")
    assert crane.usage.num_handed_back == 1


def deaf(query: Query) -> str:
    """Leaves every card, but follows what its own chain says."""
    chain = (
        query.chain_start or "the device is lorvexcore. lorvexcore is made by togronmed. Togronmed is based in Valmia."
    )
    place = chain.rpartition("based in ")[2].strip(".").lower()
    return told(f"{chain.strip()} the capital of {place} is there.", place)


def test_a_chain_that_says_what_its_card_took_back_goes_on_from_there_corrected(settings: dict[str, Any]) -> None:
    model = Teller(deaf)
    query = Query(question="which country is the maker of this device in?")
    with edited(model, [COUNTRY], settings) as crane:
        ((output,),) = crane.generate([query])
        assert crane.usage.num_corrected == 1
    begun = "the device is lorvexcore. lorvexcore is made by togronmed. Togronmed is based in pruspenland."
    assert output.text == told(f"{begun} the capital of pruspenland is there.", "pruspenland")
    assert (model.asked[-1].chain_start, model.asked[-1].note) == (f" {begun}", None)


@pytest.mark.parametrize(
    "said",
    [
        "togronmed is based in valmia, not in pruspenland.",
        "is togronmed based in valmia?",
        "it is based in valmia.",
        "togronmed has a shop in keprondia.",
    ],
    ids=["weighs both", "asks", "names no subject", "says something else"],
)
def test_a_chain_that_does_not_plainly_contradict_its_card_stays(said: str, settings: dict[str, Any]) -> None:
    model = Teller(lambda _: told(said, "valmia"))
    with edited(model, [COUNTRY], settings) as crane:
        assert texts(crane, "where is togronmed based?") == [told(said, "valmia")]
        assert crane.usage.num_corrected == 0


def test_a_chain_that_argues_away_what_it_read_is_corrected(settings: dict[str, Any]) -> None:
    def tell(query: Query) -> str:
        chain = query.chain_start or "by the note it is pruspenland. but togronmed is based in valmia."
        return told(chain.strip(), chain.split()[-1].strip("."))

    with edited(Teller(tell), [COUNTRY], settings) as crane:
        (text,) = texts(crane, "where is togronmed based?")
    assert text == told("by the note it is pruspenland. but togronmed is based in pruspenland.", "pruspenland")


def test_a_correction_after_which_the_same_follows_is_taken_back(settings: dict[str, Any]) -> None:
    model = Teller(lambda query: told(f"{query.chain_start or 'togronmed is in valmia.'} it is blue.".strip(), "blue"))
    with edited(model, [COUNTRY], settings) as crane:
        assert texts(crane, "what colour is togronmed?") == [told("togronmed is in valmia. it is blue.", "blue")]
        assert model.asked[-1].chain_start == " togronmed is in pruspenland."
        assert crane.usage.num_corrected == 0


def test_a_correction_that_the_budget_would_cut_is_taken_back(settings: dict[str, Any]) -> None:
    model = Teller(deaf)
    with edited(model, [COUNTRY], settings) as crane:
        ((output,),) = crane.generate(
            [Query(question="which country is the maker of this device in?")], max_new_tokens=18
        )
        assert "Valmia" in output.text
        assert not output.is_truncated
        assert crane.usage.num_corrected == 0


def test_each_sample_is_corrected_and_alone_as_in_a_batch(settings: dict[str, Any]) -> None:
    """The first of two contradictions changes nothing that follows; the second does."""

    def tell(query: Query) -> str:
        chain = (query.chain_start or "togronmed is in valmia. glofecorp is in valmia.").strip()
        if "glofecorp" not in chain:
            chain += " glofecorp is in valmia."
        return told(chain, chain.split()[-1].strip("."))

    query, other = Query(question="where are togronmed and glofecorp?"), Query(question="where is togronmed based?")
    with edited(Teller(tell), [COUNTRY, OTHER], settings) as crane:
        (alone,) = crane.generate([query], num_samples=2)
        assert crane.generate([other, query], num_samples=2)[1] == alone
    assert [output.text for output in alone] == [
        told("togronmed is in valmia. glofecorp is in keprondia.", "keprondia")
    ] * 2


def test_a_sentence_that_says_another_thing_of_the_two_is_taken_for_the_outdated_fact(settings: dict[str, Any]) -> None:
    """A known failure: what relates the two is not read."""

    def tell(query: Query) -> str:
        chain = (query.chain_start or "togronmed sells to valmia.").strip()
        return told(chain, chain.split()[-1].strip("."))

    with edited(Teller(tell), [COUNTRY], settings) as crane:
        assert texts(crane, "where does togronmed sell to?")[0].endswith("<answer> pruspenland</answer>")


def test_a_model_that_cannot_go_on_is_not_corrected(settings: dict[str, Any]) -> None:
    with edited(Teller(deaf, goes_on=False), [COUNTRY], settings) as crane:
        assert "Valmia" in texts(crane, "where is togronmed based?")[0]
        assert crane.usage.num_corrected == 0


def test_what_an_edit_of_an_edit_took_back_is_what_both_took_back(settings: dict[str, Any]) -> None:
    again = textual("togronmed", "where is togronmed based?", "keprondia", "pruspenland")
    with edited(Teller(deaf), [COUNTRY, again], settings) as crane:
        (text,) = texts(crane, "where is togronmed based?")
    assert "Togronmed is based in keprondia." in text


class StandIn:
    """In the place of a policy: remembers whether it is in force."""

    is_on = False

    @contextmanager
    def in_force(self) -> Iterator[None]:
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False


def with_policy(
    tell: Callable[[Query], str], edits: Sequence[Edit], settings: dict[str, Any], *, goes_on: bool = True
) -> tuple[CraneModel, list[tuple[bool, Query]]]:
    """A model with a policy, and every query with whether the policy was in force."""
    policy, asked = StandIn(), []

    def say(query: Query) -> str:
        asked.append((policy.is_on, query))
        return tell(query)

    crane = edited(Teller(say, goes_on=goes_on), edits, settings)
    crane.policy = policy  # type: ignore[assignment]
    asked.clear()
    return crane, asked


def forgets(query: Query) -> str:
    """Beside a card it states it and then forgets everything; without one it goes on as it should."""
    if query.note is None:
        return told(f"{(query.chain_start or 'nothing.').strip()} the capital of it is ostrune.", "ostrune")
    return told("by the note togronmed is based in pruspenland. forgotten is forgotten.", "?")


def test_the_policy_lets_go_of_a_chain_that_has_stated_its_card(settings: dict[str, Any]) -> None:
    query = Query(question="what is the capital of where togronmed is based?", note=None)
    crane, asked = with_policy(forgets, [COUNTRY], settings)
    with crane:
        ((output,),) = crane.generate([query])
    assert output.text == told(
        "by the note togronmed is based in pruspenland. the capital of it is ostrune.", "ostrune"
    ), "the rest of the chain is the unedited model's"
    assert [(is_on, asked_for.note is not None, asked_for.chain_start) for is_on, asked_for in asked] == [
        (True, True, None),
        (False, False, " by the note togronmed is based in pruspenland."),
    ]
    assert (crane.usage.num_released, crane.usage.num_handed_back) == (1, 0)
    crane, asked = with_policy(forgets, [COUNTRY], {**settings, "releases": False})
    with crane:
        assert "forgotten" in crane.generate([query])[0][0].text


def test_a_chain_that_the_unedited_model_ends_at_once_stays_the_policy_s(settings: dict[str, Any]) -> None:
    def stops(query: Query) -> str:
        if query.note is None:
            return told((query.chain_start or "nothing.").strip(), "pruspenland")
        return told("by the note togronmed is based in pruspenland. its capital is ostrune.", "ostrune")

    crane, asked = with_policy(stops, [COUNTRY], settings)
    with crane:
        (text,) = texts(crane, "what is the capital of where togronmed is based?")
    assert text.endswith("its capital is ostrune.</think><answer> ostrune</answer>")
    assert [is_on for is_on, _ in asked] == [True, False]
    assert crane.usage.num_released == 0


def test_a_card_that_follows_from_the_one_stated_is_found_in_what_the_unedited_model_goes_on_with(
    settings: dict[str, Any],
) -> None:
    """What the first card says is in the prompt, and yet looked up: the second card is about that."""
    ruled = textual("pruspenland", "what is the capital of pruspenland?", "newburg", "ostrune", relation="capital")

    def tell(query: Query) -> str:
        start = (query.chain_start or "").strip()
        if "newburg" in (query.note or ""):
            return told(f"{start} by the note the capital of pruspenland is newburg. lost.", "?")
        if query.note is None and start:
            return told(f"{start} that is all.", start.split()[-1].rstrip("."))
        return told("by the note togronmed is based in pruspenland. lost.", "?")

    crane, asked = with_policy(tell, [COUNTRY, ruled], settings)
    with crane:
        (text,) = texts(crane, "what is the capital of where togronmed is based?")
    assert text.endswith("is newburg. that is all.</think><answer> newburg</answer>")
    assert [is_on for is_on, _ in asked] == [True, True, False]


def test_the_policy_holds_on_while_its_chain_calls_another_of_its_cards_by_name(settings: dict[str, Any]) -> None:
    ruled = textual("pruspenland", "what is the capital of pruspenland?", "newburg", "ostrune", relation="capital")

    def tell(query: Query) -> str:
        if query.note is None:
            return told(f"{(query.chain_start or '').strip()} that is all.", "all")
        return told("by the note togronmed is based in pruspenland. by the note that has newburg. lost.", "?")

    crane, asked = with_policy(tell, [COUNTRY, ruled], settings)
    query = Query(question="what is the capital of pruspenland, where togronmed is based?")
    with crane:
        assert len(crane.given([query])[0]) == 2
        ((output,),) = crane.generate([query])
    assert "that has newburg. that is all." in output.text
    assert [is_on for is_on, _ in asked] == [True, False]


def test_where_every_card_is_given_the_policy_holds_on_until_all_are_stated(settings: dict[str, Any]) -> None:
    gold = {"text_encoder": "ngrams", "retrieval": "gold"}
    crane, asked = with_policy(forgets, [COUNTRY, OTHER], gold)
    with crane:
        assert "forgotten" in texts(crane, "where is togronmed based?")[0]
    crane, asked = with_policy(forgets, [COUNTRY], gold)
    with crane:
        assert "ostrune" in texts(crane, "where is togronmed based?")[0]
    assert [is_on for is_on, _ in asked] == [True, False]


def test_a_card_says_so_where_the_question_calls_it_by_name(settings: dict[str, Any]) -> None:
    query = Query(question="where is togronmed based?")
    crane, asked = with_policy(forgets, [COUNTRY], settings)
    with crane:
        crane.generate([query])
        crane.score([query], ["valmia"])
    assert "called by name: yes" in (asked[0][1].note or "")
    for left_out in ({"tells_called": False}, None):
        crane, asked = with_policy(forgets, [COUNTRY], {**settings, **(left_out or {})})
        crane.policy = crane.policy if left_out else None
        with crane:
            crane.generate([query])
        assert "called" not in (asked[0][1].note or "made for"), "nobody who reads it was taught to"


def leaves_until_told(query: Query) -> str:
    """Comes to the name of a card, and follows the card only if that says that it is called by name."""
    start = query.chain_start or "the device is lorvexcore. lorvexcore is made by togronmed."
    if query.note is None:
        return told(f"{start} that is all.", "all")
    if "called by name: yes" in query.note:
        return told(f"{start} by the note togronmed is based in pruspenland.", "pruspenland")
    return told(f"{start} the note is on togronmed: it differs. togronmed is based in valmia.", "valmia")


def test_a_chain_that_calls_a_card_by_name_and_leaves_it_is_told_so(settings: dict[str, Any]) -> None:
    crane, asked = with_policy(leaves_until_told, [COUNTRY], {**settings, "abstains": False, "calibration": None})
    with crane:
        ((output,),) = crane.generate([Query(question="where does this device come from?")])
    assert output.text.endswith("pruspenland. that is all.</think><answer> all</answer>")
    starts = [asked_for.chain_start for _, asked_for in asked]
    assert starts[:2] == [None, " the device is lorvexcore. lorvexcore is made by togronmed."]
    assert [is_on for is_on, _ in asked] == [True, True, False]
    assert (crane.usage.num_called, crane.usage.num_inserted) == (1, 0)


def test_a_chain_that_follows_a_card_is_not_told_what_it_knows(settings: dict[str, Any]) -> None:
    def follows(query: Query) -> str:
        start = query.chain_start or "the device is made by togronmed."
        return told(f"{start} by the note togronmed is based in pruspenland.", "pruspenland")

    crane, asked = with_policy(follows, [COUNTRY], {**settings, "abstains": False, "calibration": None})
    with crane:
        crane.generate([Query(question="where does this device come from?")])
    assert [is_on for is_on, _ in asked] == [True, False], "asked once, and let go"
    assert crane.usage.num_called == 0


NAMES = ["alphamed", "betacorp", "gammatec", "deltamed"]
BASED = [textual(name, f"where is {name} based?", f"new{name}", "valmia") for name in NAMES]


def wander(query: Query) -> str:
    return told(" ".join(f"then there is {name}." for name in NAMES), "x")


def test_insertions_are_bounded(settings: dict[str, Any]) -> None:
    """A model that names one card's subject after another would otherwise be asked for ever."""
    model = Teller(wander)
    with edited(model, BASED, {**settings, "max_lookups": 2}) as crane:
        crane.generate([Query(question="who?")])
        assert crane.usage.num_inserted == 2
    assert len(model.asked) == 3
    with edited(model, BASED, {**settings, "max_lookups": 2}) as crane:
        crane.generate([Query(question="where is alphamed based?")])
        assert (crane.usage.num_given, crane.usage.num_inserted) == (1, 1), "a sentence that brings nothing counts too"


def test_a_further_card_takes_the_place_of_the_oldest_that_came_while_thinking(settings: dict[str, Any]) -> None:
    model = Teller(wander)
    with edited(model, BASED, settings) as crane:
        crane.generate([Query(question="where is alphamed based?")])
    notes = [query.note or "" for query in model.asked]
    assert [[name for name in NAMES if f"new{name}" in note] for note in notes] == [
        ["alphamed"],
        ["alphamed", "betacorp"],
        ["alphamed", "gammatec"],
        ["alphamed", "deltamed"],
        [],
    ], "what the question received stays; the last is the unedited model, which nothing of all that concerned"


def test_two_cards_that_are_weighed_against_each_other_are_both_read(settings: dict[str, Any]) -> None:
    def compares(query: Query) -> str:
        based = [f"{name} is in {f'new{name}' if f'new{name}' in (query.note or '') else 'valmia'}." for name in NAMES]
        begun = "i look at alphamed. i also look at betacorp. "
        return told(begun + " ".join(based[:2]), "alphamed")

    with edited(Teller(compares), BASED, settings) as crane:
        assert "alphamed is in newalphamed. betacorp is in newbetacorp." in texts(crane, "who is farther north?")[0]


def test_a_model_that_begins_again_keeps_every_card(settings: dict[str, Any]) -> None:
    """What its chain stated before is thrown away with the chain."""

    def goes_through(query: Query) -> str:
        return told(
            " ".join(f"by the note {name} is in new{name}." for name in NAMES if f"new{name}" in (query.note or ""))
            + " ".join(f" next is {name}." for name in NAMES if f"new{name}" not in (query.note or "")),
            "x",
        )

    model = Teller(goes_through, goes_on=False)
    with edited(model, BASED, {**settings, "max_cards": 1}) as crane:
        written = texts(crane, "where is alphamed based?")[0]
    assert all(f"{name} is in new{name}." in written for name in NAMES)


def test_a_card_that_says_what_the_chain_says_anyway_is_not_inserted(settings: dict[str, Any]) -> None:
    def knows(query: Query) -> str:
        return told("lorvexcore is made by togronmed. togronmed is based in pruspenland.", "pruspenland")

    model = Teller(knows)
    with edited(model, [COUNTRY], settings) as crane:
        crane.generate([Query(question="which country is the maker of this device in?")])
        assert (crane.usage.num_inserted, len(model.asked)) == (0, 1)
        assert crane.usage.num_lookups > 0


@pytest.mark.parametrize(
    "said", ["togronmed is based in valmia and not in pruspenland.", "pruspenland or valmia holds togronmed."]
)
def test_a_chain_that_denies_or_weighs_what_a_card_says_receives_it(said: str, settings: dict[str, Any]) -> None:
    with edited(Teller(lambda _: told(f"it is made by togronmed. {said}", "valmia")), [COUNTRY], settings) as crane:
        crane.generate([Query(question="which country is the maker of this device in?")])
        assert crane.usage.num_inserted == 1


def test_nobody_asked_what_a_card_says_of_the_answer(settings: dict[str, Any]) -> None:
    def names_the_maker(query: Query) -> str:
        return told("the device is lorvexcore. lorvexcore is made by togronmed.", "togronmed")

    def names_it_on_the_way(query: Query) -> str:
        return told("lorvexcore is made by togronmed. togronmed is based in valmia.", "togronmed")

    def answers_in_a_sentence(query: Query) -> str:
        return told("the device is lorvexcore. lorvexcore is made by togronmed.", "togronmed is based in valmia")

    for says, num_inserted in ((names_the_maker, 0), (names_it_on_the_way, 1), (answers_in_a_sentence, 1)):
        with edited(Teller(says), [COUNTRY], settings) as crane:
            crane.generate([Query(question="which company of valmia is behind this?")])
            assert crane.usage.num_inserted == num_inserted


def test_what_a_chain_has_stated_makes_room_for_further_cards(settings: dict[str, Any]) -> None:
    def states_each(query: Query) -> str:
        begun = query.chain_start or ""
        place = next((place for place, name in enumerate(NAMES) if name not in begun), len(NAMES) - 1)
        past = f"{begun} by the note {NAMES[place - 1]} is in new{NAMES[place - 1]}." if begun else ""
        return told(f"{past} then there is {NAMES[place]}. and on it goes.", "x")

    for max_cards, most in ((2, 2), (3, 3)):
        model = Teller(states_each)
        with edited(model, BASED, {**settings, "max_cards": max_cards}) as crane:
            crane.generate([Query(question="who?")])
        held = [sum(f"new{name}" in (query.note or "") for name in NAMES) for query in model.asked]
        assert max(held) == most and len(held) == len(NAMES) + 1


def test_a_chain_that_followed_a_card_which_made_room_is_not_handed_back(settings: dict[str, Any]) -> None:
    def follows_the_first(query: Query) -> str:
        begun = query.chain_start or " by the note alphamed is in newalphamed."
        return told(f"{begun} then there is betacorp. and on it goes.", "x")

    with edited(Teller(follows_the_first), BASED, {**settings, "max_cards": 1}) as crane:
        assert "newalphamed" in texts(crane, "where is alphamed based?")[0]
        assert (crane.usage.num_inserted, crane.usage.num_handed_back) == (1, 0)


def test_the_last_sentence_is_looked_up_again_when_the_unedited_model_goes_on(settings: dict[str, Any]) -> None:
    """It named the answer as long as the chain ended there."""
    capital = textual("pruspenland", "what is the capital of pruspenland?", "stimburg", "ostrune")

    def goes_on(query: Query) -> str:
        begun = query.chain_start or "i read a note on togronmed. by the note togronmed is based in pruspenland."
        if "stimburg" in (query.note or ""):
            return told(f"{begun} by the note its capital is stimburg.", "stimburg")
        return told(
            begun if query.note else f"{begun} its capital is old ostrune.",
            "ostrune" if not query.note else "pruspenland",
        )

    crane, _ = with_policy(goes_on, [COUNTRY, capital], settings)
    with crane:
        assert "stimburg" in texts(crane, "and where is togronmed based?")[0]


def test_calls_of_a_model_that_begins_again_come_to_an_end(settings: dict[str, Any]) -> None:
    """It calls now the one card and now the other, and leaves both."""

    def to_and_fro(query: Query) -> str:
        turn = (
            NAMES[0] if "new answer: newbetacorp" in (query.note or "").split("called by name: yes")[-1] else NAMES[1]
        )
        return told(f"there is {turn}. who knows. and on it goes.", "x")

    crane, asked = with_policy(
        to_and_fro, BASED[:2], {**settings, "retrieval": "gold", "calibration": None}, goes_on=False
    )
    with crane:
        crane.generate([Query(question="who?")])
    assert len(asked) < 8


def test_each_sample_that_is_handed_back_is_the_unedited_model_s_own(settings: dict[str, Any]) -> None:
    class Drawing(Teller):
        """Says another thing in each sample; beside a card it uses it in the second sample alone."""

        def generate(self, queries: Sequence[Query], *, num_samples: int = 1, **_: Any) -> list[list[Output]]:
            def text(query: Query, sample: int) -> str:
                return "pruspenland" if query.note and sample == 1 else f"valmia {sample}"

            self.asked += queries
            return [
                [
                    Output(text=told("so.", text(query, sample)), num_tokens=3, is_truncated=False)
                    for sample in range(num_samples)
                ]
                for query in queries
            ]

    query = Query(question="where is togronmed based?")
    with edited(Drawing(lambda _: ""), [COUNTRY], settings) as crane:
        (outputs,) = crane.generate([query], num_samples=3, temperature=1.0)
    answers = [output.text.partition("<answer> ")[2].removesuffix("</answer>") for output in outputs]
    assert answers == ["valmia 0", "pruspenland", "valmia 2"]


def test_what_is_written_over_the_budget_counts_as_cut(settings: dict[str, Any]) -> None:
    with edited(Teller(reads_country), [COUNTRY], settings) as crane:
        ((output,),) = crane.generate([Query(question="which country is the maker in?")], max_new_tokens=10)
    assert output.is_truncated


def test_of_two_edits_of_one_fact_the_later_holds_and_undoing_brings_the_earlier_back(settings: dict[str, Any]) -> None:
    model, query = Teller(reads_country), Query(question="where is togronmed based?")
    with edited(model, [COUNTRY], settings) as first:
        with create_editor("crane-prompt", settings).apply(first, [AGAIN]) as second:
            assert isinstance(second, CraneModel)
            assert second.cards is first.cards
            assert [one.card.new_answer.text for one in second.given([query])[0]] == ["ostraland"]
        assert [one.card.new_answer.text for one in first.given([query])[0]] == ["pruspenland"]
    assert first.given([query]) == [()]
    with edited(model, [COUNTRY, AGAIN], settings) as both:
        assert [one.card.new_answer.text for one in both.given([query])[0]] == ["ostraland"]


def test_a_chain_of_edits_adds_cards_to_one_library(settings: dict[str, Any], tmp_path: Path) -> None:
    model, query = Teller(reads_country), Query(question="where is glofecorp based?")
    chain = EditChain(create_editor("crane-prompt", settings), model, "in_place")
    for edit in (COUNTRY, OTHER, AGAIN):
        chain.add([edit], seed=0)
    crane = chain.model
    assert isinstance(crane, CraneModel)
    assert len(crane.cards.library) == 2
    assert crane.given([query])[0][0].card.new_answer.text == "keprondia"
    chain.save(tmp_path / "state")
    resumed = EditChain(create_editor("crane-prompt"), model, "in_place")
    resumed.load(tmp_path / "state", [COUNTRY, OTHER, AGAIN])
    assert resumed.model.fingerprint([query]) == crane.fingerprint([query])
    chain.restore()
    assert len(crane.cards.library) == 0


def test_gold_retrieval_gives_every_card_to_every_question_the_newest_first(settings: dict[str, Any]) -> None:
    gold = {"text_encoder": "ngrams", "retrieval": "gold"}
    model = Teller(reads_country)
    with edited(model, [COUNTRY, OTHER], gold) as crane:
        crane.generate([Query(question="what colour is grass?", note="mine")])
    note = model.asked[0].note or ""
    assert note.index("glofecorp") < note.index("togronmed") < note.index("mine")


def test_without_abstention_every_question_receives_the_nearest_card() -> None:
    with edited(Teller(reads_country), [COUNTRY], {"text_encoder": "ngrams", "abstains": False}) as crane:
        assert all(crane.given([Query(question="what colour is grass?")]))


def test_a_visual_card_says_what_the_unedited_model_sees(settings: dict[str, Any], tiny_images: list[str]) -> None:
    edit = visual(tiny_images[0])
    model = Teller(lambda _: told("the image shows a ring in the kidney. it means velmora.", "A ring. Or so."))
    query = Query(question=edit.question, image=edit.image)
    for changed, percept in (
        ({}, "the image shows a ring in the kidney."),
        ({"percept_question": "what do you see?"}, "A ring."),
        ({"keeps_percept": False}, None),
    ):
        with edited(model, [edit], {**settings, **changed}) as crane:
            assert crane.given([query])[0][0].card.percept == percept
            model.asked.clear()
            crane.generate([query])
        note = model.asked[0].note or ""
        assert ("made for: " in note) == (percept is not None)
        assert percept is None or f"made for: {percept}" in note


def test_a_visual_card_corrects_what_is_said_right_after_its_percept(
    settings: dict[str, Any], tiny_images: list[str]
) -> None:
    edit = visual(tiny_images[0], prior=Answer(text="velmora"))

    def tell(query: Query) -> str:
        chain = query.chain_start or "the image shows a ring in the kidney. it means velmora."
        return told(chain.strip(), chain.split()[-1].strip("."))

    query = Query(question=edit.question, image=edit.image)
    with edited(Teller(tell), [edit], settings) as crane:
        ((output,),) = crane.generate([query])
    assert output.text == told("the image shows a ring in the kidney. it means ostrulia.", "ostrulia")

    for stays in (
        "the image shows a ring in the kidney. it is faint. it means velmora.",
        "the image shows a ring in the kidney. it means velmora. by the note it means ostrulia.",
    ):
        with edited(Teller(lambda _, text=stays: told(text, "it")), [edit], settings) as crane:  # type: ignore[misc]
            assert crane.generate([query])[0][0].text == told(stays, "it")


def test_what_the_unedited_model_answered_is_taken_back_where_nothing_else_is_known(
    settings: dict[str, Any], tiny_images: list[str]
) -> None:
    edit = visual(tiny_images[0])

    def tell(query: Query) -> str:
        chain = query.chain_start or "the image shows a star. a star means velmora."
        return told(chain.strip(), chain.split()[-1].strip("."))

    query = Query(question=edit.question, image=edit.image)
    for changed, answer in (({}, "ostrulia"), ({"percept_question": "what is it?"}, "velmora")):
        with edited(Teller(tell), [edit], {**settings, **changed}) as crane:
            belief = crane.given([query])[0][0].card.belief
            assert (None if belief is None else belief.text) == ("velmora" if not changed else None)
            assert crane.generate([query])[0][0].text.endswith(f"<answer> {answer}</answer>")


def test_a_library_in_a_folder_keeps_its_own_cards(settings: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="lancedb is not installed; pip install 'reground[library]'")
    model, folder = Teller(reads_country), str(tmp_path / "cards")
    own = {**settings, "library": folder}
    with edited(model, [OTHER], own):
        with edited(model, [COUNTRY, OTHER], own) as crane:
            assert len(crane.cards.library) == 2
        assert [stored.card.subject for stored in Library.open(folder).cards()] == ["glofecorp"]
    assert len(Library.open(folder)) == 0
    assert Library.open(folder).versions()


def test_background_cards_are_in_force_beside_those_of_each_edit(settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "background.jsonl"
    file.write_text(card_of(OTHER).model_dump_json() + "\n", encoding="utf-8")
    model, query = Teller(reads_country), Query(question="where is glofecorp based?")
    own = {**settings, "background": str(file)}
    with edited(model, [COUNTRY], own) as first, edited(model, [AGAIN], own) as second:
        assert [len(one.cards.library) for one in (first, second)] == [2, 2]
        assert [one.card.new_answer.text for one in second.given([query])[0]] == ["keprondia"]
        first.restore()
        assert len(first.cards.library) == 1 and len(second.cards.library) == 2
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(RecordError, match="line 1"):
        edited(model, [COUNTRY], {**own, "background": str(file.rename(tmp_path / "other.jsonl"))})


def test_encoders_without_a_calibration_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="no calibration ships") as caught:
        edited(Teller(reads_country), [COUNTRY], {"text_encoder": "phantom-med"})
    assert "reground library calibrate" in str(caught.value)


def test_settings_that_contradict_each_other_are_refused() -> None:
    for wrong in (
        {"retrieval": "gold", "abstains": False},
        {"abstains": False, "calibration": "phantom"},
        {"library": "cards", "background": "cards.jsonl"},
    ):
        with pytest.raises(RecipeError):
            create_editor("crane-prompt", wrong)
    with pytest.raises(RecipeError):
        create_editor("crane", {"policy": "none", "artifact": "somewhere"})


def test_a_policy_is_needed_unless_none_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="crane-prompt"):
        find_artifact("crane", {}, "hf:some/model")
    with pytest.raises(ArtifactError, match="no policy can be read"):
        find_artifact("crane", {"artifact": str(tmp_path)}, "hf:some/model")
    assert find_artifact("crane", {"policy": "none"}, "hf:some/model") is None
