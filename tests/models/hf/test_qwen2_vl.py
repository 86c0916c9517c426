"""Pictures of any shape, and positions on three axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reground.edits.records import ImageRef
from reground.methods.upper_layers import UpperLayers
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, Pass, load_hf_model, prompt_tokens


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Pictures of 16x16, 16x32 and 40x16 pixels: 2x2, 2x4 and 5x2 tokens."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(3)
    paths = []
    for index, (height, width) in enumerate([(16, 16), (16, 32), (40, 16)]):
        paths.append(str(folder / f"{index}.png"))
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture(params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def model(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> HfModel:
    return load_hf_model(str(tiny_folders[request.param]), device="cpu")


@pytest.fixture
def queries(shapes: list[str]) -> list[Query]:
    return [
        Query(question="what?"),
        *(Query(question="which condition?", image=ImageRef(frames=(path,))) for path in shapes),
        Query(question="is the later image worse than the earlier one?", image=ImageRef(frames=tuple(shapes[1:]))),
    ]


def test_positions_of_a_picture_are_its_grid_and_text_goes_on_after_its_longer_side(
    model: HfModel, queries: list[Query]
) -> None:
    batch = model.prompt_batch(queries[2:3])
    (positions_T3,) = batch["position_ids"].permute(1, 2, 0)
    first = int(torch.nonzero(torch.tensor(model.cut_prompt(queries[2]).is_image))[0])
    grid = [[first, first + row, first + column] for row in range(2) for column in range(4)]
    assert positions_T3[first : first + 8].tolist() == grid
    assert positions_T3[first - 1].tolist() == [first - 1] * 3
    after = torch.arange(first + 4, first + 4 + len(positions_T3) - first - 8)
    assert torch.equal(positions_T3[first + 8 :], after[:, None].expand(-1, 3))


def test_padding_moves_no_position(model: HfModel, queries: list[Query]) -> None:
    together = model.prompt_batch(queries)
    for row, query in enumerate(queries):
        (alone_3T,) = model.prompt_batch([query])["position_ids"].transpose(0, 1)
        positions_3T = together["position_ids"][:, row]
        assert torch.equal(positions_3T[:, -alone_3T.shape[1] :], alone_3T)
        assert not positions_3T[:, : -alone_3T.shape[1]].any()


def test_pictures_of_different_shapes_answer_together_as_alone(model: HfModel, queries: list[Query]) -> None:
    together = model.generate(queries, max_new_tokens=12)
    assert together == [model.generate([query], max_new_tokens=12)[0] for query in queries]
    assert len({outputs[0].text for outputs in together}) == len(queries)


def test_generation_with_a_cache_is_the_stock_generation(model: HfModel, queries: list[Query]) -> None:
    for query in queries[1:]:
        assert query.image is not None
        content = [{"type": "image"} for _ in query.image.frames] + [{"type": "text", "text": query.question}]
        prompt = model.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        pictures = [Image.open(frame).convert("RGB") for frame in query.image.frames]
        inputs = model.processor(text=[prompt], images=pictures, return_tensors="pt")
        ids = model.module.generate(**inputs, max_new_tokens=12, do_sample=False)
        written = ids[0, inputs["input_ids"].shape[1] :]
        expected = model.processor.tokenizer.decode(written, skip_special_tokens=False)
        ((output,),) = model.generate([query], max_new_tokens=12)
        assert expected.replace("<end_of_utterance>", "") == output.text


def test_the_state_of_a_stock_generation_has_no_say(model: HfModel, queries: list[Query]) -> None:
    """The module keeps the offset of its last call's positions; ours are given with every call."""
    before = model.fingerprint(queries)
    text = model.generate(queries[:1], max_new_tokens=6)
    model.module.model.rope_deltas = torch.tensor([[-7]])
    assert model.fingerprint(queries) == before
    assert model.generate(queries[:1], max_new_tokens=6) == text


@pytest.mark.parametrize("layer", [0, -1])
def test_upper_layers_take_the_positions_along(model: HfModel, queries: list[Query], layer: int) -> None:
    """They check themselves against the whole model's logits, columns cut off included."""
    batch = model.training_batch(queries, ["yes"] * len(queries))
    first = int(Pass(prompt_tokens(batch)).prompt_ends_B.min())
    assert UpperLayers(model, layer, batch, first_column=first).first_column == first


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_half_precision_generates(family: str, tiny_folders: dict[str, Path], queries: list[Query]) -> None:
    model = load_hf_model(str(tiny_folders[family]), dtype="bfloat16", device="cpu")
    assert all(outputs[0].num_tokens for outputs in model.generate(queries, max_new_tokens=4))


def test_a_saved_checkpoint_names_the_stock_processor(tiny_folders: dict[str, Path]) -> None:
    assert '"processor_class": "Qwen2VLProcessor"' in (tiny_folders["qwen2_vl"] / "processor_config.json").read_text()
