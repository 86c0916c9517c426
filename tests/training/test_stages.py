"""Training stages at toy size: they run, they resume to the same weights, they leave the tower alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.training.phantom import build, language_model, tower
from reground.training.phantom.build import PhantomRecipe, build_phantom, write_card
from reground.training.phantom.language_model import ImagePool, LanguageSettings, build_model, train_stage
from reground.training.phantom.tower import TowerSettings, load_tower, train_tower
from reground.training.phantom.vocabulary import train_tokenizer

TOWER = TowerSettings(width=16, depth=1, num_heads=2, mlp_width=16, num_steps=3, batch_size=8, late_steps=3)
TOKENIZER = train_tokenizer(vocab_size=600, num_texts=200)
LANGUAGE = LanguageSettings(
    hidden=24, depth=3, num_heads=3, mlp_width=16, num_steps=10, batch_size=4, images_per_subject=3, mixture="med"
)


def _attended(ids_BT: torch.Tensor, *, starts_copying: bool) -> tuple[torch.Tensor, ...]:
    """Attention ``(B, heads, T, T)`` of each layer of a model that has not been trained."""
    model = build_model(LanguageSettings(starts_copying=starts_copying), TowerSettings(), TOKENIZER).eval()
    model.model.text_model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions: tuple[torch.Tensor, ...] = model.model.text_model(
            inputs_embeds=model.get_input_embeddings()(ids_BT), output_attentions=True
        ).attentions
    return attentions


def test_a_fresh_model_is_already_able_to_repeat() -> None:
    """One head of the first layer looks one token back; the next layer's finds where a token stood before."""
    words = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:40] + 250
    ids_BT = torch.cat([words, words[:20]]).unsqueeze(0)
    shares = {}
    for starts_copying in (True, False):
        attended = _attended(ids_BT, starts_copying=starts_copying)
        last_share = attended[0][0, 0].diagonal(-1).mean().item()
        found_share = attended[1][0, 0, 41:60].diagonal(2).mean().item()  # query 40 + i looks at position 1 + i
        shares[starts_copying] = (last_share, found_share)
    assert shares[True][0] > 0.95 and shares[True][1] > 0.25, shares
    assert shares[False][0] < 0.1 and shares[False][1] < 0.1, shares


def test_a_fresh_model_already_looks_for_the_start_of_a_word() -> None:
    ids = TOKENIZER("find the river: ponalgia thivrakton open the doflendle krakisol", add_special_tokens=False)
    pieces = TOKENIZER.convert_ids_to_tokens(ids["input_ids"])
    starts = [max(j for j in range(i + 1) if pieces[j][0] == "Ġ") for i in range(len(pieces))]
    shares = {}
    for starts_copying in (True, False):
        attended = _attended(torch.tensor([ids["input_ids"]]), starts_copying=starts_copying)
        shares[starts_copying] = attended[0][0, 1][range(len(pieces)), starts][4:].mean().item()
    assert shares[True] > 0.85 and shares[False] < 0.4, shares


def test_copying_takes_three_heads() -> None:
    with pytest.raises(ValueError, match="num_heads of at least 3, not 2"):
        LanguageSettings(num_heads=2)


class _Stop(Exception):
    pass


def _stop_after(monkeypatch: pytest.MonkeyPatch, module: Any, saves: int) -> None:
    """End the process in effect, right after a checkpoint was written."""
    original, count = module.save_state, 0

    def save(state: dict[str, Any], file: Path) -> None:
        nonlocal count
        original(state, file)
        count += 1
        if count == saves:
            raise _Stop

    monkeypatch.setattr(module, "save_state", save)


def test_an_interrupted_tower_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.load(train_tower(TOWER, tmp_path / "whole", checkpoint_every=2), weights_only=True)
    with monkeypatch.context() as patch:
        _stop_after(patch, tower, 2)
        with pytest.raises(_Stop):
            train_tower(TOWER, tmp_path / "parts", checkpoint_every=2)
    parts = torch.load(train_tower(TOWER, tmp_path / "parts", checkpoint_every=2), weights_only=True)
    assert all(torch.equal(parts["tower"][name], tensor) for name, tensor in whole["tower"].items())


def test_an_interrupted_language_stage_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _, _ = load_tower(train_tower(TOWER, tmp_path))
    pool = ImagePool(trained, LANGUAGE.images_per_subject, 1)
    monkeypatch.setitem(language_model._QUICK_CHECKS, "med", (("percept", "seen"),))

    def fresh() -> Any:
        model = build_model(LANGUAGE, TOWER, TOKENIZER)
        model.model.vision_model.load_state_dict(trained.state_dict())
        return model

    whole = fresh()
    train_stage(whole, TOKENIZER, LANGUAGE, pool, tmp_path / "whole", checkpoint_every=4, check_every=99)
    parts = fresh()
    with monkeypatch.context() as patch:
        _stop_after(patch, language_model, 1)
        with pytest.raises(_Stop):
            train_stage(parts, TOKENIZER, LANGUAGE, pool, tmp_path / "parts", checkpoint_every=4, check_every=99)
    parts = fresh()
    report = train_stage(parts, TOKENIZER, LANGUAGE, pool, tmp_path / "parts", checkpoint_every=4, check_every=99)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert all(
        torch.equal(tensor, trained.state_dict()[name])
        for name, tensor in parts.model.vision_model.state_dict().items()
    )
    assert report["curve"][-1]["step"] == LANGUAGE.num_steps


def test_a_model_is_built_stage_by_stage_and_its_card_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mixture in ("reading", "med"):
        monkeypatch.setitem(language_model._QUICK_CHECKS, mixture, (("trivia", "seen"),))
    monkeypatch.setattr(build, "train_tokenizer", lambda _: TOKENIZER)
    short = LANGUAGE.model_copy(update={"num_steps": 2})
    recipe = PhantomRecipe(
        name="toy",
        vocab_size=600,
        tower=TOWER,
        reading=short.model_copy(update={"mixture": "reading"}),
        language=short,
    )
    out = build_phantom(recipe, tmp_path / "work", tmp_path / "toy")
    assert list(json.loads((out / "training.json").read_text())["stages"]) == ["tower", "reading", "language"]
    row = {"skill": "percept", "wording": "seen", "answer": 0.5, "well_formed": 1.0, "n": 2}
    (out / "measured.json").write_text(json.dumps({"seed": 7, "num_parameters": 1, "skills": [row]}))
    card = write_card(out).read_text()
    assert "| language | 2 |" in card and "| image tower | 6 |" in card
    monkeypatch.setattr(build, "ImagePool", None)
    again = build_phantom(recipe, tmp_path / "work", tmp_path / "again")  # nothing is trained or encoded twice
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
