"""What every local model family keeps, whatever its architecture."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.models.base import Model, Query
from reground.models.hf.adapter import HfModel
from reground.models.hf.image_cache import ImageCache
from reground.models.hf.tiny import TINY_FAMILIES

TARGETS = ("velmora syndrome", "drantic fever", "tarvexin", "yes", "one", "osquine disease", "no", "a ring")


@pytest.fixture(params=TINY_FAMILIES)
def tiny_model(request: pytest.FixtureRequest, family_copy: Callable[[str], HfModel]) -> HfModel:
    """A fresh tiny model of each family there is."""
    return family_copy(request.param)


@pytest.fixture(scope="module")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of four pictures of four shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    paths = [str(folder / f"{index}.png") for index in range(4)]
    for path, (height, width) in zip(paths, [(16, 16), (24, 40), (48, 16), (20, 20)], strict=True):
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def stock(tiny_model: HfModel, tiny_folders: dict[str, Path]) -> Any:
    """The module that ``transformers`` loads from the checkpoint, untouched by the adapter."""
    return AutoModelForImageTextToText.from_pretrained(tiny_folders[tiny_model.family.name]).eval()


def stock_inputs(model: HfModel, query: Query) -> dict[str, torch.Tensor]:
    """What the checkpoint's own processor makes of a query, pictures as pixels."""
    frames = query.image.frames if query.image else ()
    content = [{"type": "image"} for _ in frames] + [{"type": "text", "text": query.question}]
    prompt = model.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    if model.family.name == "paligemma":  # its processor puts start token and line end itself, and takes no text alone
        if not frames:
            return dict(model.processor.tokenizer([prompt], return_tensors="pt", return_token_type_ids=True))
        prompt = prompt.replace(model.processor.tokenizer.bos_token, "").removesuffix("\n")
    pictures = {"images": [[Image.open(frame).convert("RGB") for frame in frames]]} if frames else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # some processors' own
        inputs = model.processor(text=[prompt], return_tensors="pt", **pictures)
    return {name: tensor for name, tensor in inputs.items() if name != "labels"}


def continued(model: HfModel, inputs: dict[str, torch.Tensor], written: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """The same with tokens written after the prompt."""
    kinds = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": int(model.family.name == "paligemma")}
    result = {**inputs, "input_ids": torch.cat([inputs["input_ids"], torch.tensor([written])], dim=1)}
    for name in kinds.keys() & inputs.keys():
        more = torch.full((1, len(written)), kinds[name], dtype=inputs[name].dtype)
        result[name] = torch.cat([inputs[name], more], dim=1)
    if "cross_attention_mask" in inputs:
        seen = inputs["cross_attention_mask"]
        result["cross_attention_mask"] = torch.cat([seen, seen[:, -1:].expand(-1, len(written), -1, -1)], dim=1)
    return result


@pytest.fixture
def queries(tiny_images: list[str]) -> list[Query]:
    """Eight queries of different lengths: text alone, one image, two frames, notes, options."""
    first, second, third, fourth = tiny_images
    return [
        Query(question="which drug comes first?"),
        Query(question="what does this show?", image=ImageRef(frames=(first,))),
        Query(question="which condition does this image show?", image=ImageRef(frames=(second,))),
        Query(question="is the later image worse than the earlier one?", image=ImageRef(frames=(third, fourth))),
        Query(question="which?", note="Note: a ring means osquine disease.", image=ImageRef(frames=(first,))),
        Query(question="which drug?", options=("tarvexin", "belumide", "none of these")),
        Query(question="why?", is_thinking=False),
        Query(question="which condition?", image=ImageRef(frames=(fourth,)), is_thinking=False),
    ]


def next_token_logits(model: HfModel, queries: list[Query]) -> torch.Tensor:
    rows = [model._prompt_row(query) for query in queries]
    with torch.no_grad():
        return model._forward(rows, keep=1)[:, -1]


def test_a_local_model_is_a_model_and_declares_itself(tiny_model: HfModel) -> None:
    assert isinstance(tiny_model, Model)
    everything = {
        "generate", "score", "logits", "hidden_states", "weights", "float_weights", "image_tokens", "notes",
        "begun_chains",
    }  # fmt: skip
    assert tiny_model.capabilities == everything - tiny_model.family.lacks
    assert tiny_model.info.dtype == "float32"
    assert tiny_model.info.device == "cpu"
    assert tiny_model.info.revision.startswith("sha256:")
    assert tiny_model.delimiters.writes_chain == (tiny_model.family.name != "internvl")
    assert tiny_model.delimiters.template_opens_chain == (tiny_model.family.name == "qwen3_vl")


def test_one_batch_of_eight_answers_like_eight_of_one(tiny_model: HfModel, queries: list[Query]) -> None:
    together = tiny_model.generate(queries, max_new_tokens=12)
    apart = [tiny_model.generate([query], max_new_tokens=12)[0] for query in queries]
    assert together == apart
    assert len({outputs[0].text for outputs in together}) > 4, "the tiny model must tell prompts apart"


def test_logits_do_not_depend_on_the_batch(tiny_model: HfModel, queries: list[Query]) -> None:
    together = next_token_logits(tiny_model, queries)
    apart = torch.cat([next_token_logits(tiny_model, [query]) for query in queries])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_small_batches_answer_like_large_ones(tiny_model: HfModel, queries: list[Query]) -> None:
    whole = tiny_model.generate(queries, max_new_tokens=8)
    tiny_model.batch_size = 3
    assert tiny_model.generate(queries, max_new_tokens=8) == whole


def test_scores_do_not_depend_on_padding(tiny_model: HfModel, queries: list[Query]) -> None:
    together = tiny_model.score(queries, TARGETS)
    for query, target, score in zip(queries, TARGETS, together, strict=True):
        (alone,) = tiny_model.score([query], [target])
        assert alone.num_tokens == score.num_tokens
        assert alone.top1_share == score.top1_share
        assert alone.log_prob == pytest.approx(score.log_prob, abs=1e-3)


def test_scores_equal_a_plain_forward_pass_of_the_checkpoint(
    tiny_model: HfModel, stock: Any, queries: list[Query]
) -> None:
    """Held against the stock processor and the stock forward, images given as pixels."""
    for query, target in zip(queries[:4], TARGETS, strict=False):
        inputs = stock_inputs(tiny_model, query)
        row = tiny_model._completed_rows([query], [target], ends=False)[0]
        prompt, written = row.ids[: -row.num_completion], row.ids[-row.num_completion :]
        assert inputs["input_ids"][0].tolist() == list(prompt)
        with torch.no_grad():
            logits_TV = stock(**continued(tiny_model, inputs, written)).logits[0, -len(written) - 1 : -1]
        expected = logits_TV.log_softmax(-1).gather(-1, torch.tensor(written)[:, None]).sum()
        (score,) = tiny_model.score([query], [target])
        assert score.num_tokens == len(written)
        assert score.log_prob == pytest.approx(float(expected), abs=1e-3)
        is_top = logits_TV.argmax(-1) == torch.tensor(written)
        assert score.top1_share == pytest.approx(float(is_top.float().mean()))


def test_generation_equals_the_stock_generation_of_the_checkpoint(
    tiny_model: HfModel, stock: Any, queries: list[Query]
) -> None:
    for query in queries[:4]:
        inputs = stock_inputs(tiny_model, query)
        ids = stock.generate(**inputs, max_new_tokens=10, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
        ends = [position for position, token in enumerate(ids) if token in tiny_model.chat.end_ids]
        tokenizer = tiny_model.processor.tokenizer
        written = [token for token in ids[: ends[0] if ends else None] if token != tokenizer.pad_token_id]
        expected = tokenizer.decode(written, skip_special_tokens=False)
        assert tiny_model.generate([query], max_new_tokens=10)[0][0].text == expected


def test_generation_stops_at_an_end_token_or_at_its_budget(tiny_model: HfModel, queries: list[Query]) -> None:
    ((cut,),) = tiny_model.generate(queries[1:2], max_new_tokens=3)
    assert cut.is_truncated and cut.num_tokens == 3
    first = tiny_model.module.generate(**stock_inputs(tiny_model, queries[1]), max_new_tokens=1, do_sample=False)[0, -1]
    tiny_model.chat.end_ids = (int(first),)
    ((ended,),) = tiny_model.generate(queries[1:2], max_new_tokens=3)
    assert not ended.is_truncated and ended.num_tokens == 0


def test_the_image_cache_changes_nothing(tiny_model: HfModel, queries: list[Query]) -> None:
    cold = next_token_logits(tiny_model, queries)
    hits_before = tiny_model.images.num_hits
    warm = next_token_logits(tiny_model, queries)
    assert tiny_model.images.num_hits > hits_before
    tiny_model.images = ImageCache(0)
    uncached = next_token_logits(tiny_model, queries)
    assert tiny_model.images.held_bytes == 0
    assert torch.equal(cold, warm)
    assert torch.equal(cold, uncached)


def test_a_change_on_the_vision_side_shows_after_invalidation(tiny_model: HfModel, queries: list[Query]) -> None:
    query = queries[1]
    before = tiny_model.fingerprint([query])
    connector = tiny_model.module.get_submodule(tiny_model.family.vision[-1])
    with torch.no_grad():
        for parameter in connector.parameters():
            parameter.mul_(1.5)
    assert tiny_model.fingerprint([query]) == before
    tiny_model.invalidate_images()
    assert tiny_model.fingerprint([query]) != before


def test_pictures_change_answers(tiny_model: HfModel, tiny_images: list[str]) -> None:
    prints = {
        tiny_model.fingerprint([Query(question="which?", image=ImageRef(frames=frames))])
        for frames in [
            (tiny_images[0],),
            (tiny_images[1],),
            tuple(tiny_images[:2]),
            tuple(tiny_images[1::-1]),
        ]
    }
    assert len(prints) == 4


def test_fingerprints_repeat_and_keep_the_order_of_queries(tiny_model: HfModel, queries: list[Query]) -> None:
    assert tiny_model.fingerprint(queries) == tiny_model.fingerprint(queries)
    assert tiny_model.fingerprint(queries) != tiny_model.fingerprint(queries[::-1])


def test_samples_follow_the_seed_not_the_batch(tiny_model: HfModel, queries: list[Query]) -> None:
    settings = {"max_new_tokens": 8, "temperature": 1.0, "num_samples": 3}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    drawn = tiny_model.generate(queries, seed=1, **settings)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(outputs) for outputs in drawn] == [3] * len(queries)
    assert len({output.text for output in drawn[0]}) > 1
    assert tiny_model.generate(queries, seed=1, **settings) == drawn  # type: ignore[arg-type]
    assert tiny_model.generate(queries, seed=2, **settings) != drawn  # type: ignore[arg-type]
    assert tiny_model.generate(queries[3:4], seed=1, **settings)[0] == drawn[3]  # type: ignore[arg-type]


def test_greedy_samples_are_all_the_same(tiny_model: HfModel) -> None:
    ((first, second),) = tiny_model.generate([Query(question="which?")], max_new_tokens=4, num_samples=2)
    assert first == second


def test_a_training_batch_covers_completion_and_end_token(tiny_model: HfModel, queries: list[Query]) -> None:
    batch = tiny_model.training_batch(queries[:2], ["tarvexin", "drantic fever"], ends=True)
    tokenizer = tiny_model.processor.tokenizer
    for labels, text in zip(batch["labels"], ["tarvexin", "drantic fever"], strict=True):
        ids = labels[labels != -100].tolist()
        assert ids[-1] == tiny_model.chat.end_ids[0]
        assert tokenizer.decode(ids[:-1]).strip() == text
    assert not batch["inputs_embeds"].requires_grad
    without = tiny_model.training_batch(queries[:1], ["tarvexin"], ends=False)
    assert int((without["labels"] != -100).sum()) == int((batch["labels"][0] != -100).sum()) - 1


def test_nothing_asked_gives_nothing(tiny_model: HfModel) -> None:
    assert tiny_model.generate([]) == []
    assert tiny_model.score([], []) == []


@pytest.mark.parametrize(
    "settings",
    [{"max_new_tokens": 0}, {"num_samples": 0}, {"temperature": -0.1}],
    ids=lambda value: next(iter(value)),
)
def test_decoding_settings_out_of_range_are_refused(tiny_model: HfModel, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="were given"):
        tiny_model.generate([Query(question="which?")], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "target", "message"),
    [
        (Query(question="what is in <image>?"), "yes", "image places for 0 frames"),
        (Query(question="which? " * 400), "yes", "tokens"),
        (Query(question="which?"), "  ", "no tokens"),
        (Query(question="which?"), "an {image_token}", "image token"),
    ],
)
def test_what_cannot_be_asked_is_refused(tiny_model: HfModel, query: Query, target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_model.score([query], [target.format(image_token=tiny_model.chat.image_token)])


def test_queries_and_targets_must_pair_up(tiny_model: HfModel) -> None:
    with pytest.raises(InputError, match="2 texts were given to be put after 1 queries"):
        tiny_model.score([Query(question="which?")], ["one", "two"])
