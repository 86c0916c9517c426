"""Second moments of keys: right, kept, and told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError
from reground.methods.closed_form import statistics as statistics_module
from reground.methods.closed_form.corpus import Corpus, open_corpus
from reground.methods.closed_form.panels import project
from reground.methods.closed_form.statistics import KeyStatistics
from reground.methods.cost import Measured
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def corpus(tiny_model: HfModel, tmp_path: Path, tiny_images: list[str]) -> Corpus:
    path = tmp_path / "texts.jsonl"
    path.write_text(
        '{"question": "which drug comes first for a ring in the kidney?"}\n'
        f'{{"question": "what is this?", "image": "{tiny_images[1]}", "completion": "a ring in the liver"}}\n'
        '{"question": "which?", "completion": "none"}\n'
    )
    return open_corpus(str(path), tiny_model)


def keys_one_by_one(model: HfModel, corpus: Corpus, path: str) -> torch.Tensor:
    """Keys of each text in a pass of its own, without padding."""
    kept: list[torch.Tensor] = []
    handle = model.module.get_submodule(path).register_forward_pre_hook(lambda _, given: kept.append(given[0][0]))
    for text in corpus.texts(10):
        if text.completion is None:
            batch = model.prompt_batch([text.query])
        else:
            batch = model.training_batch([text.query], [text.completion])
            del batch["labels"]
        with torch.no_grad():
            model.module(**batch)
    handle.remove()
    return torch.cat(kept).double()


def test_the_moment_is_the_mean_over_all_tokens_and_no_padding(tiny_model: HfModel, corpus: Corpus) -> None:
    paths = [tiny_model.layer_path(layer, "mlp.down_proj") for layer in (0, 1)]
    statistics = KeyStatistics.gathered(tiny_model, paths, corpus, 10)
    for path in paths:
        keys_NI = keys_one_by_one(tiny_model, corpus, path)
        assert statistics.report.num_tokens == len(keys_NI)
        moment_II = statistics.moment(path)
        torch.testing.assert_close(moment_II, keys_NI.T @ keys_NI / len(keys_NI), rtol=1e-4, atol=1e-5)


def test_what_was_gathered_is_kept(tiny_model: HfModel, corpus: Corpus, own_cache: Path) -> None:
    low, high = (tiny_model.layer_path(layer, "mlp.down_proj") for layer in (0, 1))
    first = KeyStatistics.gathered(tiny_model, [low], corpus, 10)
    assert not first.report.was_kept
    assert KeyStatistics.gathered(tiny_model, [low], corpus, 10).report.was_kept
    assert not KeyStatistics.gathered(tiny_model, [low, high], corpus, 10).report.was_kept
    assert KeyStatistics.gathered(tiny_model, [low, high], corpus, 10).report.was_kept
    assert not KeyStatistics.gathered(tiny_model, [low], corpus, 2).report.was_kept
    weight = tiny_model.layer_parameters(0, "self_attn.q_proj")
    for parameter in weight.values():
        parameter.data.mul_(1.01)
    other = KeyStatistics.gathered(tiny_model, [low], corpus, 10)
    assert not other.report.was_kept
    assert other.files[low] != first.files[low]
    assert len(list(own_cache.rglob("*"))) == 5, "four files in one folder, no drafts left"


def test_what_is_read_while_edits_are_made_follows_from_the_moment(tiny_model: HfModel, corpus: Corpus) -> None:
    path = tiny_model.layer_path(0, "mlp.down_proj")
    statistics = KeyStatistics.gathered(tiny_model, [path], corpus, 10)
    moment_II = statistics.moment(path)
    keys_IN = torch.randn(len(moment_II), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jittered_II = moment_II + 1e-6 * moment_II.diagonal().mean() * torch.eye(len(moment_II), dtype=torch.float64)
    for _ in range(2):
        solved_IN = statistics.inverse(path)(keys_IN)
        torch.testing.assert_close(jittered_II @ solved_IN, keys_IN, rtol=1e-4, atol=1e-4)
        strengths_I, directions = statistics.principal(path)
        torch.testing.assert_close(strengths_I, torch.linalg.eigvalsh(moment_II))
        torch.testing.assert_close(project(directions, len(moment_II), keys_IN), keys_IN)
        for kept in (statistics.files[path].with_suffix(".factor.safetensors"), directions):
            kept.write_bytes(b"cut short")


@pytest.mark.parametrize("method", ["rome", "memit", "alphaedit"])
def test_all_that_is_read_is_on_disk_before_an_edit_is_timed(
    method: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = create_editor(method, {"corpus": corpus.name, "num_steps": 1})
    written: list[bool] = []
    is_metered = False

    @contextmanager
    def metered(model: HfModel) -> Iterator[Measured]:
        nonlocal is_metered
        is_metered = True
        yield Measured()
        is_metered = False

    monkeypatch.setattr("reground.methods.closed_form.editor.measured_on", metered)
    real = statistics_module._write_tensors
    monkeypatch.setattr(
        statistics_module, "_write_tensors", lambda *given: (written.append(is_metered), real(*given))[1]
    )
    with editor.apply(tiny_model, tiny_edits[:1]):
        assert len(written) == 2
        assert not any(written)


def test_a_damaged_file_is_gathered_again(tiny_model: HfModel, corpus: Corpus) -> None:
    path = tiny_model.layer_path(0, "mlp.down_proj")
    first = KeyStatistics.gathered(tiny_model, [path], corpus, 10)
    moment_II = first.moment(path)
    first.files[path].write_bytes(b"cut short")
    again = KeyStatistics.gathered(tiny_model, [path], corpus, 10)
    assert not again.report.was_kept
    assert torch.equal(again.moment(path), moment_II)


def test_a_folder_that_cannot_be_written_to_is_named(
    tiny_model: HfModel, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="REGROUND_CACHE"):
        KeyStatistics.gathered(tiny_model, [tiny_model.layer_path(0, "mlp.down_proj")], corpus, 10)


def test_a_second_edit_uses_the_statistics_of_the_unedited_model(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: Corpus
) -> None:
    editor = create_editor("rome", {"corpus": corpus.name, "num_steps": 1, "num_contexts": 1})
    with editor.apply(tiny_model, tiny_edits[:1]) as first:
        assert not first.details["statistics"]["was_kept"]  # type: ignore[attr-defined]
        with editor.apply(first, tiny_edits[1:]) as second:
            assert second.details["statistics"]["was_kept"]  # type: ignore[attr-defined]
