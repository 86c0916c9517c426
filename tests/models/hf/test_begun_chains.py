"""Going on with a chain that has been begun."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reground.models.base import Query
from reground.models.hf.adapter import HfModel


def test_the_text_holds_the_beginning_and_goes_on_from_it(tiny_model: HfModel) -> None:
    start = "the image shows a ring."
    plain, begun = Query(question="what is it?"), Query(question="what is it?", chain_start=start)
    ((output,),) = tiny_model.generate([begun], max_new_tokens=4)
    opening = "" if tiny_model.delimiters.template_opens_chain else tiny_model.delimiters.chain_open
    assert output.text.startswith(opening + start)
    assert output.num_tokens > 4
    assert output.text != tiny_model.generate([plain], max_new_tokens=4)[0][0].text
    assert tiny_model.fingerprint([begun]) != tiny_model.fingerprint([plain])


def test_a_begun_chain_does_not_depend_on_its_batch(tiny_model: HfModel) -> None:
    queries = [
        Query(question="what is it?", chain_start="the image shows a ring."),
        Query(question="and this?"),
        Query(question="what is it?", chain_start="no."),
    ]
    together = tiny_model.generate(queries, max_new_tokens=6)
    assert together == [tiny_model.generate([query], max_new_tokens=6)[0] for query in queries]


def test_a_beginning_is_for_a_chain_of_the_models_own() -> None:
    for contradiction in ({"is_thinking": False}, {"chain_tokens": 8}):
        with pytest.raises(ValidationError, match="chain_start"):
            Query(question="?", chain_start="a.", **contradiction)  # type: ignore[arg-type]


def test_a_query_without_a_beginning_says_nothing_of_it() -> None:
    """Keys of remembered answers are made of a query's JSON; those of before must stay as they are."""
    assert "chain_start" not in Query(question="?").model_dump_json()
    begun = Query(question="?", chain_start="a.")
    assert Query.model_validate_json(begun.model_dump_json()) == begun
