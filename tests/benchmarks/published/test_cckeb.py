"""CCKEB: a visual edit, its textual companion, and the question that needs both."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import cckeb_record, write_json
from reground.benchmarks.base import HasCompanions
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import edit_misfits, probe_misfits


def test_the_textual_edit_is_a_companion_and_an_edit_of_its_own(tmp_path: Path) -> None:
    benchmark = open_benchmark(f"cckeb:{write_json(tmp_path / 'CCKEB_eval.json', [cckeb_record()])}")
    (visual,), (textual,) = benchmark.edits("test"), benchmark.edits("test_second")
    assert isinstance(benchmark, HasCompanions)
    assert benchmark.companions(visual) == (textual,)
    assert benchmark.companions(textual) == ()
    assert (textual.subject, textual.new_answer.text) == ("Newford, Eastland", "the Wend")
    assert textual.prior_answer is not None
    assert textual.prior_answer.text == "the Ouzel"
    assert [(probe.level, probe.question) for probe in benchmark.probes(textual)] == [
        ("exact", "Which river flows through Newford?"),
        ("text_rephrase", "What river runs through Newford?"),
        ("natural_questions", "who built the pier"),
    ]
    assert not [*edit_misfits(visual), *edit_misfits(textual)]


def test_the_composed_question_is_asked_once_of_the_image(tmp_path: Path) -> None:
    benchmark = open_benchmark(f"cckeb:{write_json(tmp_path / 'CCKEB_eval.json', [cckeb_record()])}")
    (visual,) = benchmark.edits("test")
    asked = benchmark.probes(visual)
    composed = [probe for probe in asked if probe.kind == "portability"]
    assert [(probe.level, probe.image) for probe in composed] == [("hop1.composed", visual.image)]
    assert composed[0].expectation.answer is not None
    assert composed[0].expectation.answer.text == "the Wend"
    assert composed[0].intermediates == (visual.new_answer,)
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


@pytest.mark.parametrize(
    ("changes", "field", "kind"),
    [
        ({"textual_edit": cckeb_record()["textual_edit"] | {"alt": [" "]}}, "textual_edit.alt.0", "empty_target"),
        ({"textual_edit": cckeb_record()["textual_edit"] | {"alt": []}}, "textual_edit.alt", "empty_target"),
        ({"alt": ""}, "alt", "empty_target"),
        ({"textual_edit": None}, "textual_edit", "unsound_record"),
        # without the textual edit in force this answer would hold, with it it does not
        ({"port_new": [{"port_type": "1-hop", "Q&A": {}}]}, "port_new.0.port_type", "unsound_record"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, object], field: str, kind: str) -> None:
    path = write_json(tmp_path / "CCKEB_train.json", [cckeb_record(), cckeb_record(**changes)])
    found = scan_published("cckeb", path)
    assert [item.edit.split for item in found.items] == ["train", "train_second"]
    assert [(error.field, error.kind) for error in found.reading.errors] == [(field, kind)]


def test_an_answer_may_be_a_text(tmp_path: Path) -> None:
    textual = cckeb_record()["textual_edit"] | {"alt": "the Wend", "pred": "the Ouzel"}
    path = write_json(tmp_path / "CCKEB_eval.json", [cckeb_record(textual_edit=textual)])
    (edit,) = open_benchmark(f"cckeb:{path}").edits("test_second")
    assert edit.new_answer.text == "the Wend"
