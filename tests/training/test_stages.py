"""Training stages at toy size: they run, they resume to the same weights, they leave the tower alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reground.training.phantom import language_model, tower
from reground.training.phantom.language_model import ImagePool, LanguageSettings, build_model, train_stage
from reground.training.phantom.tower import TowerSettings, load_tower, train_tower
from reground.training.phantom.vocabulary import train_tokenizer

TOWER = TowerSettings(width=16, depth=1, num_heads=2, mlp_width=16, num_steps=3, batch_size=8, late_steps=3)
LANGUAGE = LanguageSettings(
    hidden=16, depth=2, num_heads=2, mlp_width=16, num_steps=10, batch_size=4, images_per_subject=3, mixture="med"
)


def test_a_fresh_model_is_already_able_to_repeat() -> None:
    """One head of the first layer looks one token back; the next layer's finds where a token stood before."""
    tokenizer = train_tokenizer(vocab_size=600, num_texts=200)
    words = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:40] + 250
    ids_BT = torch.cat([words, words[:20]]).unsqueeze(0)
    shares = {}
    for starts_copying in (True, False):
        settings = LanguageSettings(starts_copying=starts_copying)
        model = build_model(settings, TowerSettings(), tokenizer).eval()
        text_model = model.model.text_model
        text_model.set_attn_implementation("eager")
        with torch.no_grad():
            attended = text_model(input_ids=ids_BT, output_attentions=True).attentions
        last_share = attended[0][0, 0].diagonal(-1).mean().item()
        found_share = attended[1][0, 0, 41:60].diagonal(2).mean().item()  # query 40 + i looks at position 1 + i
        shares[starts_copying] = (last_share, found_share)
    assert shares[True][0] > 0.95 and shares[True][1] > 0.25, shares
    assert shares[False][0] < 0.1 and shares[False][1] < 0.1, shares


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
    tokenizer = train_tokenizer(vocab_size=600, num_texts=200)
    trained, _, _ = load_tower(train_tower(TOWER, tmp_path))
    pool = ImagePool(trained, LANGUAGE.images_per_subject, 1)
    monkeypatch.setitem(language_model._QUICK_CHECKS, "med", (("percept", "seen"),))

    def fresh() -> Any:
        model = build_model(LANGUAGE, TOWER, tokenizer)
        model.model.vision_model.load_state_dict(trained.state_dict())
        return model

    whole = fresh()
    train_stage(whole, tokenizer, LANGUAGE, pool, tmp_path / "whole", checkpoint_every=4, check_every=99)
    parts = fresh()
    with monkeypatch.context() as patch:
        _stop_after(patch, language_model, 1)
        with pytest.raises(_Stop):
            train_stage(parts, tokenizer, LANGUAGE, pool, tmp_path / "parts", checkpoint_every=4, check_every=99)
    parts = fresh()
    report = train_stage(parts, tokenizer, LANGUAGE, pool, tmp_path / "parts", checkpoint_every=4, check_every=99)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert all(
        torch.equal(tensor, trained.state_dict()[name])
        for name, tensor in parts.model.vision_model.state_dict().items()
    )
    assert report["curve"][-1]["step"] == LANGUAGE.num_steps
