"""Chains that are closed once they have used up their budget."""

from __future__ import annotations

import torch

from reground.edits.records import ImageRef
from reground.models.base import Query
from reground.models.hf.adapter import load_hf_model
from reground.models.hf.sampling import ChainLimit
from reground.models.phantom import weights_folder


def test_each_row_is_closed_at_the_end_of_a_sentence_and_only_while_it_is_open() -> None:
    """Axes: 4 rows, 7 tokens; the delimiter is 4, 5, token 2 ends a sentence, a row with a 6 is closed."""
    limit = ChainLimit([1, 3, 1, None], [4, 5], lambda token: token == 2, lambda ids: 6 not in ids)
    likely = [[1, 2, 1, 1, 1, 2], [1, 2, 1, 1, 2, 1], [6, 2, 1, 2, 1, 1], [1, 2, 1, 2, 1, 2]]
    generated = torch.tensor(likely)[:, :1]
    for position in range(1, 6):
        scores = torch.zeros(4, 7)
        scores[torch.arange(4), torch.tensor(likely)[:, position]] = 1.0
        was = scores.clone()
        token_B = limit(generated, scores).argmax(dim=1)
        assert scores.equal(was), "the scores it was given are not written into"
        generated = torch.cat([generated, token_B[:, None]], dim=1)
    assert generated.tolist() == [[1, 2, 4, 5, 1, 2], [1, 2, 1, 1, 2, 4], likely[2], likely[3]]


def test_a_model_goes_on_from_where_its_chain_was_closed() -> None:
    model = load_hf_model(str(weights_folder("phantom-med")), name="phantom-med", device="cpu")
    image = ImageRef(frames=("phantom:finding?organ=kidney&sign=ring&place=upper&size=small&modality=ct&seed=7",))
    asked = {"question": "what is the first drug for this finding?", "image": image}
    own, short, long, none = (
        Query(**asked),  # type: ignore[arg-type]
        Query(**asked, chain_tokens=2),  # type: ignore[arg-type]
        Query(**asked, chain_tokens=90),  # type: ignore[arg-type]
        Query(**asked, is_thinking=False),  # type: ignore[arg-type]
    )
    texts = [outputs[0].text for outputs in model.generate([own, short, long, none])]
    assert texts[2] == texts[0], "a chain within its budget is the model's own"
    assert texts[0].count(". ") >= 1, "the own chain has several sentences"
    first_sentence = texts[0].split(". ")[0] + "."
    assert texts[1].startswith(f"{first_sentence}</think><answer>")
    assert texts[3].startswith("<answer>")
    assert model.generate([short])[0][0].text == texts[1], "whatever else is in the batch"
