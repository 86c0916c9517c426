"""What every registered method keeps, on every model family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from edit_state import State
from method_settings import ALL_METHODS, CONTEXT, QUICK, VISION_METHODS, settings_of
from reground.edits.records import Edit, ImageRef
from reground.errors import CapabilityError, InputError
from reground.methods.base import EditedModel
from reground.methods.chain_target import edit_query
from reground.methods.edited import AsksTheOriginal
from reground.methods.registry import METHODS, create_editor, method_entry
from reground.models.base import Capability, Delimiters, ModelInfo, Output, Query, TargetScore
from reground.models.hf.adapter import HfModel, load_hf_model
from training_world import needs_artifact

#: Images that a method looks at besides those of the edits, each once: what wise trains its router on.
OWN_IMAGES = {"wise": 3}
WEIGHT_METHODS = sorted(name for name, entry in METHODS.items() if "weights" in entry.needs)
#: These keep edits as text; what they need weights for is a part that was trained before.
KEPT_AS_TEXT = ("crane",)
#: Where a method that takes no Adam step can be broken off in the middle.
BREAKS: dict[str, tuple[Any, str]] = {
    "liveedit": (HfModel, "image_tokens"),
    "mend": (torch.Tensor, "copy_"),
    "serac": (HfModel, "prompt_batch"),
    "crane": (HfModel, "generate"),
}


class TalkOnly:
    """A model that generates and does nothing else."""

    info = ModelInfo(name="talk-only", revision="1", dtype="none", device="cpu")
    capabilities: frozenset[Capability] = frozenset({"generate"})
    delimiters = Delimiters()

    def __init__(self) -> None:
        self.num_calls = 0

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        self.num_calls += 1
        return [[Output(text="?", num_tokens=1, is_truncated=False)] * num_samples for _ in queries]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        raise NotImplementedError

    def fingerprint(self, queries: Sequence[Query]) -> str:
        return "talk"


#: Where the artifact of a trained method for a family's tiny model is.
_fitted: Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def _trained(fitted: Callable[[str, str], Path]) -> None:
    global _fitted
    _fitted = fitted


@pytest.fixture
def probes(tiny_edits: list[Edit], tiny_images: list[str]) -> list[Query]:
    """The edits' questions and two unrelated ones."""
    return [
        *(edit_query(edit) for edit in tiny_edits),
        Query(question="which drug comes first?"),
        Query(question="what is this?", image=ImageRef(frames=(tiny_images[3],))),
    ]


def apply(name: str, model: HfModel, edits: Sequence[Edit], *, seed: int = 0, learns: bool = False) -> EditedModel:
    if name in VISION_METHODS:
        edits = [edit for edit in edits if edit.image]
    chosen = settings_of(name, model.family.name, _fitted, learns=learns)
    return create_editor(name, chosen).apply(model, edits, seed=seed)


@pytest.mark.parametrize("name", ALL_METHODS)
def test_an_edit_is_undone_without_a_trace(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], probes: list[Query]
) -> None:
    before = State(tiny_model)
    fingerprint = tiny_model.fingerprint(probes)
    with apply(name, tiny_model, tiny_edits) as edited:
        assert isinstance(edited, EditedModel)
        changed = edited.fingerprint(probes)
    assert (changed != fingerprint) == (name != "none")
    before.assert_same(tiny_model)
    assert tiny_model.fingerprint(probes) == fingerprint
    assert edited.fingerprint(probes) == fingerprint
    edited.restore()
    before.assert_same(tiny_model)


@pytest.mark.parametrize("name", ALL_METHODS)
def test_an_edited_model_answers_like_any_model(name: str, tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    query = edit_query(tiny_edits[0])
    with apply(name, tiny_model, tiny_edits[:1]) as edited:
        ((first, second),) = edited.generate([query], max_new_tokens=4, num_samples=2)
        assert first == second
        (score,) = edited.score([query], ["drantic fever"])
        assert score.num_tokens > 0
        assert edited.info == tiny_model.info
        assert edited.delimiters == tiny_model.delimiters
        assert method_entry(name).needs <= tiny_model.capabilities


@pytest.mark.parametrize("name", ["ft", "lora", "wise"])
def test_training_on_the_answer_makes_it_the_most_likely_text(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    queries = [edit_query(edit) for edit in tiny_edits]
    targets = [edit.new_answer.text for edit in tiny_edits]
    before = tiny_model.score(queries, targets)
    with apply(name, tiny_model, tiny_edits, learns=True) as edited:
        after = edited.score(queries, targets)
        (outputs,) = edited.generate(queries[:1], max_new_tokens=20)
    for old, new in zip(before, after, strict=True):
        assert new.log_prob > old.log_prob
        assert new.top1_share == 1.0
    assert outputs[0].text.strip() == targets[0]
    assert not outputs[0].is_truncated


@pytest.mark.parametrize("name", VISION_METHODS)
def test_training_the_vision_side_makes_the_answer_likelier(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    """A projector alone need not reach every token: the text model is random and stays as it is."""
    query, target = edit_query(tiny_edits[0]), tiny_edits[0].new_answer.text
    (before,) = tiny_model.score([query], [target])
    with apply(name, tiny_model, tiny_edits, learns=True) as edited:
        (after,) = edited.score([query], [target])
    assert after.log_prob > before.log_prob + 1


@pytest.mark.parametrize("name", ["ft-chain", "lora-chain"])
def test_training_on_a_chain_makes_the_model_write_it(name: str, tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    """A random model writes no usable chain, so the statement stands in, and that is on the record."""
    with apply(name, tiny_model, tiny_edits[1:], learns=True) as edited:
        (target,) = edited.details["targets"]  # type: ignore[attr-defined]
        ((output,),) = edited.generate([edit_query(tiny_edits[1])], max_new_tokens=40)
    assert target["source"] == "statement"
    assert target["reason"]
    compact = output.text.replace(" ", "")
    assert compact == target["text"].replace(" ", "")


def test_a_prompt_edit_reads_as_a_note(tiny_model: HfModel, tiny_edits: list[Edit], probes: list[Query]) -> None:
    note = "Note: a ring in the kidney means drantic fever\nNote: a star in the liver means osquine disease."
    noted = [query.model_copy(update={"note": note}) for query in probes]
    with apply("prompt", tiny_model, tiny_edits) as edited:
        assert edited.fingerprint(probes) == tiny_model.fingerprint(noted)
        assert edited.generate(probes, max_new_tokens=5) == tiny_model.generate(noted, max_new_tokens=5)
        own = [query.model_copy(update={"note": "mine"}) for query in probes]
        both = [query.model_copy(update={"note": f"{note}\nmine"}) for query in probes]
        assert edited.fingerprint(own) == tiny_model.fingerprint(both)


@pytest.mark.parametrize("name", ALL_METHODS)
def test_saving_and_loading_on_a_fresh_copy_agree(
    name: str,
    tiny_model: HfModel,
    tiny_folders: dict[str, Path],
    tiny_edits: list[Edit],
    probes: list[Query],
    tmp_path: Path,
) -> None:
    with apply(name, tiny_model, tiny_edits) as edited:
        changed = edited.fingerprint(probes)
        edited.save(tmp_path / "edit")
    fresh = load_hf_model(str(tiny_folders[tiny_model.family.name]), device="cpu")
    before = State(fresh)
    with create_editor(name).load(fresh, tmp_path / "edit") as loaded:
        assert loaded.fingerprint(probes) == changed
        assert loaded.cost == edited.cost
    before.assert_same(fresh)
    with pytest.raises(InputError, match="undone"):
        edited.save(tmp_path / "late")


@pytest.mark.parametrize("name", ALL_METHODS)
def test_the_same_seed_repeats_and_spares_the_callers_random_state(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], probes: list[Query]
) -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    prints = []
    for _ in range(2):
        with apply(name, tiny_model, tiny_edits[:1], seed=3) as edited:
            prints.append(edited.fingerprint(probes))
    assert prints[0] == prints[1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ALL_METHODS)
def test_the_cost_is_stated(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reground.methods.energy.EnergyMeter.joules", lambda self: 2.5)
    with apply(name, tiny_model, tiny_edits[:1]) as edited:
        cost = edited.cost
    assert cost.apply_s >= 0
    assert cost.peak_bytes is None or cost.peak_bytes >= 0
    assert cost.apply_j == (None if name == "none" else 2.5)
    assert (cost.stored_bytes > 0) == (name != "none")
    is_in_weights = name in WEIGHT_METHODS and name not in KEPT_AS_TEXT
    assert (cost.num_changed_parameters > 0) == is_in_weights
    if is_in_weights:
        assert cost.stored_bytes == 4 * cost.num_changed_parameters


@pytest.mark.parametrize("name", sorted(set(ALL_METHODS) - {"none"}))
def test_a_model_that_offers_too_little_is_refused_before_anything_happens(
    name: str, tiny_edits: list[Edit], tmp_path: Path
) -> None:
    model = TalkOnly()
    with pytest.raises(CapabilityError, match=f"method '{name}' needs .*'talk-only' offers free generation") as caught:
        create_editor(name).apply(model, tiny_edits)
    assert "methods that work with it: none" in str(caught.value)
    assert model.num_calls == 0
    with pytest.raises(CapabilityError):
        create_editor(name).load(model, tmp_path)


@pytest.mark.parametrize("name", WEIGHT_METHODS)
def test_an_error_halfway_leaves_the_model_untouched(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = State(tiny_model)
    if needs_artifact(name):
        _fitted(name, tiny_model.family.name)
    owner, attribute = BREAKS.get(name, (torch.optim.Adam, "step"))
    take_step = getattr(owner, attribute)
    is_broken = False

    def break_after_first(*arguments: Any, **settings: Any) -> Any:
        nonlocal is_broken
        result = take_step(*arguments, **settings)
        if not is_broken:
            is_broken = True
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, attribute, break_after_first)
    with pytest.raises(KeyboardInterrupt):
        apply(name, tiny_model, tiny_edits)
    before.assert_same(tiny_model)


@pytest.mark.parametrize("name", WEIGHT_METHODS)
def test_training_runs_the_vision_side_once_per_image_or_if_it_is_trained_once_per_step(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    """And once more there, where what is kept of its lower layers is made sure of."""
    num_calls = 0

    def count(*_: object) -> None:
        nonlocal num_calls
        num_calls += 1

    handle = tiny_model.module.get_submodule(tiny_model.family.vision[0]).register_forward_hook(count)
    with apply(name, tiny_model, tiny_edits):
        pass
    handle.remove()
    assert num_calls == (QUICK[name]["num_steps"] + 1 if name in VISION_METHODS else 1 + OWN_IMAGES.get(name, 0))


@pytest.mark.parametrize("name", WEIGHT_METHODS)
def test_no_edits_are_refused(name: str, tiny_model: HfModel) -> None:
    with pytest.raises(InputError, match="no edits"):
        apply(name, tiny_model, [])


def test_weight_edits_stack_and_come_off_in_reverse_order(
    tiny_model: HfModel, tiny_edits: list[Edit], probes: list[Query]
) -> None:
    before = State(tiny_model)
    fingerprint = tiny_model.fingerprint(probes)
    with apply("ft", tiny_model, tiny_edits[:1]) as first:
        after_first = first.fingerprint(probes)
        with create_editor("lora", QUICK["lora"]).apply(first, tiny_edits[1:]) as second:
            assert second.fingerprint(probes) not in (fingerprint, after_first)
            with pytest.raises(InputError, match="later edit"):
                first.restore()
        assert first.fingerprint(probes) == after_first
    before.assert_same(tiny_model)


def test_weights_cannot_be_edited_under_a_note(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with (
        apply("prompt", tiny_model, tiny_edits) as noted,
        pytest.raises(CapabilityError, match="needs weights"),
    ):
        create_editor("ft").apply(noted, tiny_edits)


@pytest.mark.parametrize("name", sorted(name for name, entry in METHODS.items() if entry.asks_the_original))
def test_what_asks_the_original_says_what_it_asks(tiny_model: HfModel, tiny_edits: list[Edit], name: str) -> None:
    queries = [edit_query(edit) for edit in tiny_edits]
    with create_editor(name, CONTEXT.get(name)).apply(tiny_model, tiny_edits[:1]) as edited:
        assert isinstance(edited, AsksTheOriginal)
        asked = edited.asked(queries)
        assert edited.generate(queries, max_new_tokens=8) == tiny_model.generate(asked, max_new_tokens=8)
    assert edited.asked(queries) == queries
