"""What is particular to one family or another."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit, ImageRef
from reground.errors import CapabilityError, InputError, MissingExtraError
from reground.methods.chain_target import edit_query
from reground.methods.registry import create_editor
from reground.methods.training_step import num_completion_columns
from reground.methods.upper_layers import UpperLayers
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, Pass, load_hf_model, prompt_tokens
from reground.models.hf.family import FAMILIES, family_of
from reground.models.hf.tiny import TINY_FAMILIES, build_tiny_checkpoint
from reground.models.loading import lacking


@pytest.fixture
def image(tiny_images: list[str]) -> ImageRef:
    return ImageRef(frames=(tiny_images[0],))


def test_there_is_a_tiny_checkpoint_of_every_family() -> None:
    described = {family_of(type(name, (), {})(), name).name for name in FAMILIES}
    assert described == set(TINY_FAMILIES)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_what_a_family_lacks_is_known_before_it_is_loaded(
    family: str, tiny_folders: dict[str, Path], loaded_tiny_models: dict[str, HfModel]
) -> None:
    assert lacking(f"hf:{tiny_folders[family]}") == loaded_tiny_models[family].family.lacks


def test_a_checkpoint_that_opens_no_chain_writes_none_though_its_tokenizer_knows_how(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """The Instruct checkpoints of Qwen3-VL share their tokenizer with the Thinking ones."""
    folder = Path(shutil.copytree(tiny_folders["qwen3_vl"], tmp_path / "instruct"))
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("{% if add_generation_prompt %}{{ '<think>' }}{% endif %}", ""))
    assert not load_hf_model(str(folder), device="cpu").delimiters.writes_chain
    assert load_hf_model(str(tiny_folders["qwen3_vl"]), device="cpu").delimiters.template_opens_chain


def test_glm_trains_on_the_token_that_ends_its_turns(loaded_tiny_models: dict[str, HfModel]) -> None:
    assert loaded_tiny_models["glm4v"].end_tokens == ("<|user|>", "<end_of_utterance>")


def test_the_box_around_an_answer_is_taken_out(family_copy: Callable[[str], HfModel]) -> None:
    model = family_copy("glm4v")
    box = model.processor.tokenizer.convert_tokens_to_ids("<|begin_of_box|>")
    word = model.processor.tokenizer("ring", add_special_tokens=False)["input_ids"]
    output = model.chat.written([box, *word])
    assert output.text.strip() == "ring"
    assert output.num_tokens == len(word)


def test_layers_that_look_across_are_not_edited(family_copy: Callable[[str], HfModel]) -> None:
    model = family_copy("mllama")
    assert [model.layer_path(layer) for layer in (0, 1, -1)] == [
        f"model.language_model.layers.{index}" for index in (0, 2, 2)
    ]
    assert len(model.layers_from(0)) == 3
    with pytest.raises(InputError, match="text layer 2"):
        model.layer_path(2)


def test_rows_of_one_and_of_several_pictures_score_together_as_alone(
    family_copy: Callable[[str], HfModel], tiny_images: list[str]
) -> None:
    """Tokens no picture is shown to are given the mean of all states, which filling up with zeros would change."""
    model = family_copy("mllama")
    queries = [Query(question="which?", image=ImageRef(frames=tuple(tiny_images[:count]))) for count in (1, 2, 3)]
    together = model.score(queries, ["yes"] * 3)
    for query, score in zip(queries, together, strict=True):
        assert score.log_prob == pytest.approx(model.score([query], ["yes"])[0].log_prob, abs=1e-5)


@pytest.mark.parametrize(("family", "is_cut"), [("paligemma", False), ("mllama", False), ("gemma3", True)])
def test_columns_are_left_out_only_if_nothing_before_them_sees_them(
    family: str, is_cut: bool, family_copy: Callable[[str], HfModel], image: ImageRef
) -> None:
    """All of a PaliGemma prompt sees all of it; in Gemma 3 only a picture's tokens see each other both ways."""
    model = family_copy(family)
    batch = model.training_batch([Query(question="which condition?", image=image)], ["drantic fever"])
    first = int(Pass(prompt_tokens(batch)).prompt_ends_B.min()) - 1
    assert first < batch["attention_mask"].shape[1] - num_completion_columns(batch) - 1
    layers = UpperLayers(model, 0, batch, first_column=first)
    assert layers.first_column == (first if is_cut else 0)


def test_columns_are_not_left_out_in_the_middle_of_a_picture(
    family_copy: Callable[[str], HfModel], image: ImageRef
) -> None:
    model = family_copy("gemma3")
    query = Query(question="which condition?", image=image)
    batch = model.training_batch([query], ["drantic fever"])
    first = model.cut_prompt(query).is_image.index(True) + 2
    assert UpperLayers(model, 0, batch, first_column=first).first_column == 0


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_upper_layers_run_by_themselves_give_the_models_own_logits(
    family: str, family_copy: Callable[[str], HfModel], image: ImageRef
) -> None:
    model = family_copy(family)
    batch = model.training_batch([Query(question="which?", image=image), Query(question="why?")], ["yes", "no"])
    with model.passing(prompt_tokens(batch)), torch.no_grad():
        kept = num_completion_columns(batch) + 1
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        expected = model.module(**inputs, logits_to_keep=kept).logits
        found = UpperLayers(model, 0, batch).logits()
    counted = batch["attention_mask"][:, -kept:] == 1
    torch.testing.assert_close(found[counted], expected[counted], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "glm4v", "internvl"])
def test_a_limit_on_pixels_makes_for_fewer_image_tokens(
    family: str, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    from PIL import Image

    path = tmp_path / "wide.png"
    Image.new("RGB", (32, 32), "red").save(path)
    query = Query(question="which?", image=ImageRef(frames=(str(path),)))

    def num_image_tokens(**options: Any) -> int:
        model = load_hf_model(str(tiny_folders[family]), device="cpu", **options)
        return sum(model.cut_prompt(query).is_image)

    assert 0 < num_image_tokens(max_pixels=256) < num_image_tokens()


def test_a_limit_on_pixels_is_refused_where_pictures_are_brought_to_one_size(tiny_folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="max_pixels=256"):
        load_hf_model(str(tiny_folders["llava"]), device="cpu", max_pixels=256)


def test_the_implementation_of_attention_is_chosen(tiny_folders: dict[str, Path], image: ImageRef) -> None:
    query = Query(question="which?", image=image)
    models = [load_hf_model(str(tiny_folders["gemma3"]), device="cpu", attention=name) for name in ("eager", "sdpa")]
    assert [model.module.config.get_text_config()._attn_implementation for model in models] == ["eager", "sdpa"]
    eager, sdpa = (model.score([query], ["yes"])[0].log_prob for model in models)
    assert eager == pytest.approx(sdpa, abs=1e-4)


def test_packed_weights_ask_for_what_packs_them(tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="bitsandbytes"):
        load_hf_model(str(tiny_folders["llava"]), device="cpu", quantization="4bit")
    with pytest.raises(InputError, match="2bit"):
        load_hf_model(str(tiny_folders["llava"]), device="cpu", quantization="2bit")


def test_packed_weights_rule_out_methods_that_change_them_in_place(
    family_copy: Callable[[str], HfModel], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    model = family_copy("llava")
    model.is_quantized = True
    assert "float_weights" not in model.capabilities
    folder = Path(shutil.copytree(tiny_folders["llava"], tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    assert lacking(f"hf:{folder}") == {"float_weights"}


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="pip install 'reground[quantize]' to pack weights"
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_packed_weights_answer_and_take_the_edits_that_leave_them_alone(
    quantization: str, tmp_path: Path, tiny_edits: list[Edit]
) -> None:
    build_tiny_checkpoint(tmp_path / "llava", "llava", hidden_size=64)
    model = load_hf_model(str(tmp_path / "llava"), device="cpu", quantization=quantization)
    queries = [edit_query(edit) for edit in tiny_edits]
    fingerprint = model.fingerprint(queries)
    for name in ("grace", "lora"):
        with create_editor(name, {"num_steps": 3}).apply(model, tiny_edits) as edited:
            assert edited.fingerprint(queries) != fingerprint
        assert model.fingerprint(queries) == fingerprint
    with pytest.raises(CapabilityError, match="needs unquantized weights"):
        create_editor("ft").apply(model, tiny_edits)
