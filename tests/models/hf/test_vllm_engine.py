"""A checkpoint behind vLLM: the same prompts and outputs as under transformers. vLLM itself is stood in for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prompt_scorer import ranked_places
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, InputError, ModelError, RegroundError
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.models.hf.family import TokenRow
from reground.models.hf.vllm_engine import VllmModel
from reground.models.registry import load_model, model_entry


@dataclass
class Engine:
    """What ``vllm.LLM`` is called with, and replies by transformers, token for token."""

    settings: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[Mapping[str, Any], Any]] = field(default_factory=list)
    replies: list[tuple[Sequence[int], str]] = field(default_factory=list)
    scorer: HfModel | None = None
    num_told: int | None = None

    def fed(self, prompt: Mapping[str, Any], settings: Any) -> Any:
        """What vLLM tells of each token of a prompt, worked out by transformers; of the first ``num_told`` alone."""
        assert (settings.max_tokens, settings.temperature) == (1, 0.0)
        assert self.scorer is not None
        pictures = prompt.get("multi_modal_data", {}).get("image", [])
        family, processor = self.scorer.family, self.scorer.processor
        frames = tuple(
            family.encode(self.scorer.module, processor, family.process(processor, picture, len(pictures)))
            for picture in pictures
        )
        ids: list[int] = []
        features = iter(frames)
        for token in prompt["prompt_token_ids"]:
            is_image = token == self.scorer.module.config.image_token_id
            ids += [token] * (len(next(features).features_TH) if is_image else 1)
        places = ranked_places(self.scorer, TokenRow("", tuple(ids), frames), settings.prompt_logprobs)
        told: list[Any] = [None] + [
            {token: SimpleNamespace(logprob=log_prob, rank=rank) for token, (log_prob, rank) in place.items()}
            for place in places
        ]
        kept = told if self.num_told is None else told[: self.num_told]
        return SimpleNamespace(prompt_token_ids=ids, prompt_logprobs=kept)

    def generate(self, prompts: Sequence[Any], sampling_params: Sequence[Any], *, use_tqdm: bool) -> list[Any]:
        assert len(prompts) == len(sampling_params) and use_tqdm is False
        self.asked += list(zip(prompts, sampling_params, strict=True))
        if self.scorer is not None:
            return [self.fed(prompt, settings) for prompt, settings in zip(prompts, sampling_params, strict=True)]
        given = [self.replies.pop(0) for _ in prompts]
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason=reason)]) for ids, reason in given
        ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    module = ModuleType("vllm")

    def llm(**settings: Any) -> Engine:
        made.settings = settings
        return made

    module.LLM = llm  # type: ignore[attr-defined]
    module.SamplingParams = lambda **settings: SimpleNamespace(**settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    return made


@pytest.fixture
def spec(tiny_folders: Mapping[str, Path]) -> str:
    return f"hf:{tiny_folders['qwen2_vl']}?engine=vllm"


@pytest.fixture
def tiny(loaded_tiny_models: Mapping[str, HfModel]) -> HfModel:
    return loaded_tiny_models["qwen2_vl"]


@pytest.fixture
def model(engine: Engine, spec: str) -> VllmModel:
    loaded = load_model(spec)
    assert isinstance(loaded, VllmModel)
    return loaded


def test_prompts_are_those_of_transformers(
    model: VllmModel, engine: Engine, tiny: HfModel, tiny_images: list[str]
) -> None:
    queries = [
        Query(question="what is it?", note="a note", options=("one", "two")),
        Query(question="what is it?", is_thinking=False),
        Query(question="what is it?", chain_start="it is"),
    ]
    engine.replies = [([tiny.chat.end_ids[0]], "stop")] * 4
    model.generate([*queries, Query(question="and this?", image=ImageRef(frames=tuple(tiny_images[:2])))])
    for query, (prompt, _) in zip(queries, engine.asked, strict=False):
        assert prompt == {"prompt_token_ids": list(tiny._prompt_row(query).ids)}
    seen, _ = engine.asked[-1]
    assert [picture.size for picture in seen["multi_modal_data"]["image"]] == [
        picture.size for picture in model_pictures(tiny_images[:2])
    ]
    image_id = tiny.module.config.image_token_id
    assert seen["prompt_token_ids"].count(image_id) == 2, "the engine puts in as many as it has features"


def model_pictures(paths: Sequence[str]) -> list[Any]:
    from reground.edits.images import open_image

    return open_image(ImageRef(frames=tuple(paths)))


def test_outputs_are_read_as_those_of_transformers(model: VllmModel, engine: Engine, tiny: HfModel) -> None:
    word = list(tiny.chat.tokenise("red ring"))
    end = tiny.chat.end_ids[0]
    engine.replies = [([*word, end], "stop"), (word, "stop"), (word, "length"), ([*word, end], "stop")]
    queries = [Query(question="q")] * 3 + [Query(question="q", chain_start="it is a")]
    ended, stopped, cut, begun = (outputs[0] for outputs in model.generate(queries, max_new_tokens=7))
    assert ended == stopped == tiny.chat.written([*word, end])
    assert cut.is_truncated and cut.text == ended.text
    assert begun.text.startswith("<think>it is a") and begun.num_tokens > ended.num_tokens
    _, settings = engine.asked[0]
    assert (settings.max_tokens, settings.temperature, settings.seed) == (7, 0.0, None)
    assert settings.stop_token_ids == list(tiny.chat.end_ids) and settings.skip_special_tokens is False


def test_samples_have_seeds_of_their_own_and_greedy_is_asked_once(model: VllmModel, engine: Engine) -> None:
    engine.replies = [([7], "length")] * 7
    drawn = model.generate([Query(question="q"), Query(question="r")], temperature=0.7, num_samples=3, seed=1)
    assert [len(outputs) for outputs in drawn] == [3, 3]
    seeds = [settings.seed for _, settings in engine.asked]
    assert len(set(seeds)) == 6 and all(0 <= seed < 2**63 for seed in seeds)
    assert len(model.generate([Query(question="q")], num_samples=3)[0]) == 3
    assert len(engine.asked) == 7
    assert model.generate([]) == []


def test_scores_are_those_of_transformers(
    model: VllmModel, engine: Engine, tiny: HfModel, tiny_images: list[str]
) -> None:
    engine.scorer = tiny
    queries = [
        Query(question="what is it?", note="a note", options=("one", "two")),
        Query(question="what is it?", is_thinking=False),
        Query(question="what is it?", chain_start="it is"),
        Query(question="and this?", image=ImageRef(frames=tuple(tiny_images[:2]))),
    ]
    targets = ["two", "<think>so.</think><answer>a ring</answer>", "a ring", "größe"]
    for there, here in zip(model.score(queries, targets), tiny.score(queries, targets), strict=True):
        assert there.model_dump(exclude={"log_prob"}) == here.model_dump(exclude={"log_prob"})
        assert there.log_prob == pytest.approx(here.log_prob, abs=1e-5)
    assert model.score([], []) == []


def test_a_target_that_cannot_be_scored_is_refused(model: VllmModel, engine: Engine, tiny: HfModel) -> None:
    engine.scorer, query = tiny, Query(question="q")
    for targets in ([], [" "], ["<image>"]):
        with pytest.raises(InputError):
            model.score([query], targets)
    assert engine.asked == []
    for engine.num_told in (0, -1):
        with pytest.raises(ModelError, match="does not tell"):
            model.score([query], ["a ring"])


def test_the_engine_is_made_as_the_name_says(engine: Engine, spec: str) -> None:
    load_model(spec + "&dtype=bfloat16&device_map=auto&max_pixels=100")
    assert engine.settings["dtype"] == "bfloat16" and engine.settings["tensor_parallel_size"] == 1
    assert Path(engine.settings["model"]).is_dir() and engine.settings["limit_mm_per_prompt"] == {"image": 4}


def test_large_pictures_are_made_smaller_first(engine: Engine, spec: str, tiny_images: list[str]) -> None:
    small = load_model(spec + "&max_pixels=100")
    engine.replies = [([7], "length")]
    small.generate([Query(question="q", image=ImageRef(frames=(tiny_images[0],)))])
    (picture,) = engine.asked[0][0]["multi_modal_data"]["image"]
    assert picture.size[0] * picture.size[1] <= 100


def test_what_an_engine_cannot_do_is_refused(
    model: VllmModel, engine: Engine, spec: str, tiny_images: list[str]
) -> None:
    entry = model_entry(spec)
    assert entry.capabilities == model.capabilities == {"generate", "score", "notes", "begun_chains"}
    assert not entry.limits_chains
    for refused in (
        lambda: model.fingerprint([Query(question="q")]),
        lambda: model.generate([Query(question="q", chain_tokens=4)]),
    ):
        with pytest.raises(CapabilityError, match=r"vLLM|logits|scores"):
            refused()
    with pytest.raises(InputError, match="5 frames"):
        model.generate([Query(question="q", image=ImageRef(frames=tuple(tiny_images[:1] * 5)))])
    engine.replies = [([7], "abort")]
    with pytest.raises(ModelError, match="'abort'"):
        model.generate([Query(question="q")])
    with pytest.raises(InputError, match="quantization beside engine=vllm"):
        model_entry(spec + "&quantization=4bit")
    with pytest.raises(InputError, match="chooses its device"):
        load_model(spec, device="cpu")


def test_without_vllm_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(RegroundError, match="not installed") as caught:
        load_model(spec)
    assert "pip install vllm" in str(caught.value)


def test_an_engine_that_refuses_a_checkpoint_is_quoted(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    module = ModuleType("vllm")

    def llm(**_: Any) -> Any:
        raise ValueError("no such architecture\nand a trace")

    module.LLM = llm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    with pytest.raises(ModelError, match="no such architecture"):
        load_model(spec)
