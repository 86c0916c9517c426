"""Methods that change weights, on the families that the whole method contract is not run over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from covered_families import TINY_FAMILY_NAMES
from edit_state import State
from method_settings import LEARNING, VISION_METHODS
from reground.edits.records import Edit, ImageRef
from reground.methods.chain_target import edit_query
from reground.methods.registry import METHODS, create_editor
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.models.hf.tiny import TINY_FAMILIES

#: Steps after which an edit shows on random weights.
NUM_STEPS = {
    "ft": 4,
    "ft-vision": 2,
    "ft-projector": 2,
    "lora": 4,
    "grace": 4,
    "wise": 4,
    "rome": 4,
    "memit": 2,
}
QUICK = {name: {**LEARNING[name], "num_steps": num_steps} for name, num_steps in NUM_STEPS.items()}
OTHER_FAMILIES = [family for family in TINY_FAMILIES if family not in TINY_FAMILY_NAMES]


@pytest.mark.parametrize("name", sorted(QUICK))
@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_an_edit_takes_hold_and_is_undone_without_a_trace(
    family: str, name: str, family_copy: Callable[[str], HfModel], tiny_edits: list[Edit], tiny_images: list[str]
) -> None:
    model = family_copy(family)
    edits = tiny_edits[:1] if name in VISION_METHODS else tiny_edits
    queries = [edit_query(edit) for edit in edits]
    targets = [edit.new_answer.text for edit in edits]
    probes = [
        *queries,
        Query(question="which drug?"),
        Query(question="why?", image=ImageRef(frames=tuple(tiny_images[:2]))),
    ]
    before, fingerprint = State(model), model.fingerprint(probes)
    unedited = sum(score.log_prob for score in model.score(queries, targets))
    with create_editor(name, QUICK[name]).apply(model, edits) as edited:
        assert edited.fingerprint(probes) != fingerprint
        assert sum(score.log_prob for score in edited.score(queries, targets)) > unedited
        assert edited.generate(probes, max_new_tokens=3)
    before.assert_same(model)
    assert model.fingerprint(probes) == fingerprint


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_a_family_offers_what_methods_need_or_says_that_it_does_not(
    family: str, family_copy: Callable[[str], HfModel]
) -> None:
    model = family_copy(family)
    refused = {name for name, entry in METHODS.items() if not entry.needs <= model.capabilities}
    assert refused == ({"liveedit"} if family == "mllama" else set())
