"""Loading a checkpoint: what is accepted, what is refused, and what is read of it."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from reground.edits.records import ImageRef
from reground.errors import CapabilityError, ImageError, InputError, ModelError
from reground.models.base import Delimiters, Query
from reground.models.hf.adapter import HfModel, _one_ahead, load_hf_model
from reground.models.hf.checkpoint import keep_as_packed


@pytest.fixture
def checkpoint(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_folders["idefics3"], tmp_path / "checkpoint"))


def load(folder: Path, **options: Any) -> HfModel:
    return load_hf_model(str(folder), device="cpu", **options)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def set_template(folder: Path, old: str, new: str) -> None:
    path = folder / "chat_template.jinja"
    template = path.read_text()
    assert old in template
    path.write_text(template.replace(old, new))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no checkpoint folder at .*absent"):
        load(tmp_path / "absent")


def test_a_folder_without_a_config_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"without a config\.json"):
        load(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(checkpoint: Path, bad: float) -> None:
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    tensors[name][0, 0] = bad
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"not finite: model\.text_model\.layers\.1\.mlp\.up_proj\.weight"):
        load(checkpoint)


def test_missing_tensors_are_refused_not_invented(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing or misshapen, the first is lm_head\.weight"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer_config.json", "[]"),
        ("processor_config.json", "[]"),
        ("config.json", '{"model_type": "idefics3", "dtype": "float99"}'),
    ],
)
def test_damaged_settings_are_refused(checkpoint: Path, name: str, text: str) -> None:
    """JSON of another shape than transformers expects ended in a traceback from deep inside it."""
    (checkpoint / name).write_text(text)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(checkpoint)


def test_a_damaged_weights_file_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(checkpoint)


def test_an_architecture_without_a_family_is_refused_before_weights_are_read(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "fuyu"}))
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CapabilityError, match="Fuyu checkpoint") as caught:
        load(checkpoint)
    assert "Idefics3, InternVL, Llava" in str(caught.value)


def test_a_config_with_a_field_of_the_wrong_type_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", scale_factor="large")
    with pytest.raises(ModelError, match="scale_factor"):
        load(checkpoint)


def test_a_config_that_calls_for_a_far_larger_model_is_refused_before_it_is_made(checkpoint: Path) -> None:
    """Without its text part the config stands for the library's default: billions of parameters, made at random."""
    edit_json(checkpoint / "config.json", text_config=None)
    with pytest.raises(ModelError, match=r"calls for \d,\d{3},\d{3},\d{3} parameters; the weights beside it hold"):
        load(checkpoint)


def test_a_checkpoint_without_a_chat_template_is_refused(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no usable chat template"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "dtype 'float8'"),
        ({"device": "toaster"}, "device 'toaster'"),
        ({"device": "cpu", "device_map": "auto"}, "both device="),
        ({"batch_size": 0}, "batch_size=0"),
        ({"image_cache_bytes": -1}, "image_cache_bytes=-1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(checkpoint: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_hf_model(str(checkpoint), **options)


def test_half_precision_loads_and_answers(checkpoint: Path) -> None:
    model = load(checkpoint, dtype="bfloat16", name="half")
    assert model.info.dtype == "bfloat16"
    assert model.info.name == "half"
    assert model.dtype is torch.bfloat16
    assert model.generate([Query(question="which?")], max_new_tokens=2)[0][0].num_tokens <= 2
    assert len(model.fingerprint([Query(question="which?")])) == 64


def test_the_revision_follows_the_content(checkpoint: Path) -> None:
    before = load(checkpoint).info.revision
    assert load(checkpoint).info.revision == before
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert load(checkpoint).info.revision != before


def test_delimiters_are_read_from_the_folder(checkpoint: Path) -> None:
    stated = {"chain_open": "<user>", "chain_close": "<assistant>", "answer_open": None, "answer_close": None}
    (checkpoint / "reground.json").write_text(json.dumps({"delimiters": stated}))
    assert load(checkpoint).delimiters == Delimiters(**stated)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"delimiters": 3}', '{"delimiters": {"chain_opn": "<t>"}}'], ids=range(4)
)
def test_a_settings_file_that_does_not_fit_is_refused(checkpoint: Path, content: str) -> None:
    (checkpoint / "reground.json").write_text(content)
    with pytest.raises(ModelError, match=r"reground\.json"):
        load(checkpoint)


def test_a_template_that_opens_the_chain_is_noticed(checkpoint: Path) -> None:
    set_template(
        checkpoint,
        "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}",
        "{{ '<think>' }}",
    )
    model = load(checkpoint)
    assert model.delimiters.template_opens_chain
    assert model._prompt_row(Query(question="?", is_thinking=False)).text.endswith("<assistant><think></think>")


def test_an_empty_chain_is_added_where_the_template_knows_none(checkpoint: Path) -> None:
    set_template(
        checkpoint,
        "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}",
        "",
    )
    model = load(checkpoint)
    assert model._prompt_row(Query(question="?", is_thinking=False)).text.endswith("<assistant><think></think>")
    assert model._prompt_row(Query(question="?")).text.endswith("<assistant>")


def test_a_prompt_that_ends_in_a_word_is_set_off_from_its_target(checkpoint: Path) -> None:
    set_template(checkpoint, "{{ '<assistant>' }}", "{{ '<assistant>answer:' }}")
    model = load(checkpoint)
    row = model._with_completion(model._prompt_row(Query(question="?")), "yes", ends=False)
    written = model.processor.tokenizer.decode(row.ids[-row.num_completion :])
    assert written == " yes"


def test_a_text_that_ends_early_is_not_truncated_and_loses_its_end_token(checkpoint: Path) -> None:
    model = load(checkpoint)
    end, pad = model.processor.tokenizer.convert_tokens_to_ids(["<end_of_utterance>", "<pad>"])
    word = model.processor.tokenizer("yes")["input_ids"]
    ended = model.chat.written([*word, end, pad, pad])
    assert (ended.text, ended.num_tokens, ended.is_truncated) == (" yes", len(word), False)
    cut = model.chat.written(word)
    assert (cut.text, cut.is_truncated) == (" yes", True)


def test_decoding_settings_of_the_checkpoint_are_not_used(checkpoint: Path) -> None:
    query = Query(question="which?")
    plain = load(checkpoint).generate([query], max_new_tokens=12)
    edit_json(checkpoint / "generation_config.json", repetition_penalty=9.0, no_repeat_ngram_size=1)
    assert load(checkpoint).generate([query], max_new_tokens=12) == plain


def test_layers_and_parts_are_found_by_name(checkpoint: Path) -> None:
    model = load(checkpoint)
    assert model.layer_path(-1) == "model.text_model.layers.1"
    assert model.layer_path(0, "mlp.down_proj") == "model.text_model.layers.0.mlp.down_proj"
    assert list(model.layer_parameters(1)) == [
        f"model.text_model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")
    ]
    with pytest.raises(InputError, match="text layer 2"):
        model.layer_path(2)
    with pytest.raises(InputError, match=r"the part 'mlp\.none'"):
        model.layer_path(0, "mlp.none")
    with pytest.raises(InputError, match=r"did you mean 'mlp\.down_proj'"):
        model.layer_path(0, "mlp.downproj")
    assert [model.layer_index(layer) for layer in (0, -1, 1)] == [0, 1, 1]


def test_a_copy_of_the_module_computes_the_same_bits(checkpoint: Path) -> None:
    """Weights mapped from the file were not aligned, and a deep copy of them differed in the last bit."""
    model = load(checkpoint)
    queries = [Query(question="which?"), Query(question="what is this and why?")]
    twin = HfModel(copy.deepcopy(model.module), model.processor, model.family, model.info, model.delimiters)
    assert twin.fingerprint(queries) == model.fingerprint(queries)


def test_nothing_asks_for_gradients(checkpoint: Path) -> None:
    model = load(checkpoint)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert not any(part.training for part in model.module.modules())


@pytest.mark.parametrize("template", ["{% for x in %}", "{{ raise_exception('no') }}", "{{ messages[7].content }}"])
def test_a_chat_template_that_cannot_be_rendered_is_named(checkpoint: Path, template: str) -> None:
    """A syntax error in it ended in a traceback."""
    (checkpoint / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match="no usable chat template"):
        load(checkpoint)


def test_a_template_without_a_thinking_switch_is_not_given_one(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers warned of the unknown setting at every prompt."""
    path = checkpoint / "chat_template.jinja"
    path.write_text(path.read_text().replace("enable_thinking", "nothing_of_the_kind"))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    load(checkpoint).generate([Query(question="which?")], max_new_tokens=1)
    assert not caplog.records


def test_tensors_without_a_place_are_mentioned_and_misshapen_ones_refused(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    save_file({**tensors, "odd.weight": torch.zeros(1)}, checkpoint / "model.safetensors", metadata={"format": "pt"})
    load(checkpoint)
    assert "odd.weight" in caplog.text
    tensors["lm_head.weight"] = tensors["lm_head.weight"][1:].clone()
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"misshapen, the first is .*lm_head\.weight"):
        load(checkpoint)


def test_a_name_no_file_system_takes_is_no_folder() -> None:
    with pytest.raises(ModelError, match="no checkpoint folder"):
        load_hf_model("a" * 5000)


def test_pictures_are_made_ready_one_ahead_and_in_order() -> None:
    begun: list[int] = []

    def make(item: int) -> int:
        begun.append(item)
        return 10 * item

    found = []
    for number, made in enumerate(_one_ahead(make, range(5)), start=1):
        found.append(made)
        assert len(begun) <= number + 1, "no more than one lies ready"
    assert found == [0, 10, 20, 30, 40] and begun == [0, 1, 2, 3, 4]


def test_what_goes_wrong_with_a_picture_that_is_made_ready_is_said(checkpoint: Path, tmp_path: Path) -> None:
    model = load(checkpoint)
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (32, 32), "red").save(good)
    bad.write_bytes(good.read_bytes()[:40])
    queries = [Query(question="?", image=ImageRef(frames=(str(path),))) for path in (good, bad)]
    with pytest.raises(ImageError, match=r"bad\.png"):
        model.generate(queries, max_new_tokens=1)
    assert model.fingerprint(queries[:1])


def test_packed_weights_are_not_packed_anew() -> None:
    """On some processors 4-bit weights were another model once an editor had trained beside them."""
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2)))
    layers[1][0].support_avx512bf16_for_cpu = True
    keep_as_packed(layers)
    assert layers[1][0].support_avx512bf16_for_cpu is False
    assert not hasattr(layers[0], "support_avx512bf16_for_cpu")


@pytest.mark.parametrize("cache", ["static", "offloaded", "hybrid"])
def test_a_checkpoint_that_names_a_cache_answers(checkpoint: Path, cache: str) -> None:
    query = Query(question="which one?")
    expected = load(checkpoint).generate([query], max_new_tokens=3)
    model = load(checkpoint)
    model.module.generation_config.cache_implementation = cache
    model.module.generation_config.save_pretrained(checkpoint)
    assert load(checkpoint).generate([query], max_new_tokens=3) == expected
