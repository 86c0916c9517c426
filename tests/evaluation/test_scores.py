from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from reground.edits.records import Edit, Probe, Row, Trace
from reground.errors import InputError
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.results import METRICS, Score, Summary
from reground.evaluation.scores import summarise
from reground.evaluation.strata import Belief

Make = Callable[..., Any]
OLD = ("a ring means velmora.", "velmora")
NEW = ("a ring means tarvex.", "tarvex")
FAR = ("a star.", "orbex")
CONTRACT = {"method", "model", "benchmark", "schedule", "checkpoint", "metric", "level", "stratum"}
CONTRACT |= {"value", "low", "high", "n", "num_unscored"}


@dataclass
class World:
    """Edits, probes and rows under construction."""

    make_edit: Make
    make_probe: Make
    make_row: Make
    make_failed_row: Make
    reader: Any
    edits: list[Edit] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    beliefs: list[Belief] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def edit(self) -> Edit:
        self.edits.append(self.make_edit(len(self.edits)))
        return self.edits[-1]

    def ask(
        self,
        edit: Edit,
        kind: str,
        level: str,
        before: tuple[str | None, str | None] | None,
        after: tuple[str | None, str | None] | None,
        *,
        row: dict[str, Any] | None = None,
        before_row: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Probe:
        probe: Probe = self.make_probe(edit, kind, level, **fields)
        if probe.id not in self.asked:
            self.asked.add(probe.id)
            self.probes.append(probe)
        step = len(self.edits) - 1
        if before is not None:
            given = {"method": "reference", "step": step, **(before_row or {})}
            self.rows.append(self.make_row(probe, *before, phase="before", **given))
        if after is not None:
            self.rows.append(self.make_row(probe, *after, **{"step": step, **(row or {})}))
        return probe

    def believe(self, edit: Edit, answers: list[str]) -> None:
        traces = tuple(Trace(outcome="answered", answer=said, num_tokens=1) for said in answers)
        self.beliefs.append(Belief(edit_id=edit.id, model="m", answers=traces, k=len(traces), temperature=1.0, seed=0))

    def summary(self, **settings: Any) -> Summary:
        return summarise(
            self.edits,
            self.probes,
            self.rows,
            self.beliefs,
            self.reader,
            settings=ProtocolSettings(**{"bootstrap_resamples": 200, **settings}),
        )


@pytest.fixture
def world(make_edit: Make, make_probe: Make, make_row: Make, make_failed_row: Make, reader: Any) -> World:
    return World(make_edit, make_probe, make_row, make_failed_row, reader)


def get(summary: Summary, metric: str, level: str, method: str = "ft", stratum: str = "all") -> Score:
    score = summary.find(metric, level, method=method, stratum=stratum)
    assert score is not None, (metric, level, method, stratum)
    return score


def value(summary: Summary, metric: str, level: str, method: str = "ft", stratum: str = "all") -> float | None:
    found = get(summary, metric, level, method, stratum).value
    return None if found is None else round(found, 6)


def fill(world: World) -> None:
    """Four edits by hand: 0 all right; 1 grounded on exact alone; 2 an illusion; 3 collapsed."""
    hop = {
        "intermediates": [{"text": "tarvex"}],
        "expectation": {"kind": "answer", "answer": {"text": "beta"}},
    }
    hop_old, hop_new = ("ring, velmora, alpha.", "alpha"), ("ring, tarvex, beta.", "beta")
    outputs = [
        (NEW, NEW, hop_new, hop_new, FAR, FAR),
        (NEW, OLD, hop_new, hop_old, FAR, FAR),
        ((OLD[0], "tarvex"), OLD, hop_old, hop_old, FAR, ("a star, tarvex.", "orbex")),
        ((None, None), (None, None), (None, None), (None, None), ("tarvex", "tarvex"), (None, None)),
    ]
    for exact, rephrased, one, two, far, near in outputs:
        edit = world.edit()
        costs = {"timings": {"apply_s": float(len(world.edits)), "generate_s": 3.0}, "stored_bytes": 100}
        before = {"timings": {"generate_s": 0.6}}
        common = {"row": {**costs, "tf": 1.0}, "before_row": before}
        world.ask(edit, "reliability", "exact", OLD, exact, **common)
        world.ask(edit, "generality", "text_rephrase", OLD, rephrased, **common)
        world.ask(edit, "portability", "hop1", hop_old, one, **common, **hop)
        world.ask(edit, "portability", "hop2", hop_old, two, **common, **hop)
        local = {"row": costs, "before_row": before}
        truth = {"expectation": {"kind": "unchanged", "answer": {"text": "orbex"}}}
        world.ask(edit, "text_locality", "other_topic", FAR, far, distance="far", **local, **truth)
        world.ask(edit, "text_locality", "other_subject", FAR, near, **local)


def test_every_score_by_hand(world: World) -> None:
    fill(world)
    summary = world.summary()
    expected = {
        ("tf", "exact"): 1.0,
        ("answer", "exact"): 3 / 4,
        ("grounded", "exact"): 2 / 4,
        ("illusion_gap", "exact"): 1 / 2,
        ("grounded", "text_rephrase"): 1 / 4,
        ("grounded", "generality"): 1 / 4,
        ("grounded", "hop1"): 2 / 4,
        ("grounded", "hop2"): 1 / 4,
        ("grounded", "multi_hop"): 1 / 4,
        ("grounded", "portability"): 3 / 8,
        ("grounded", "all"): 6 / 16,
        ("collapse", "all"): 4 / 16,
        ("collapse_broken_format", "all"): 4 / 16,
        ("collapse_truncated", "all"): 0.0,
        ("dissonance_explicit", "all"): 0.0,
        ("dissonance_implicit", "all"): 1 / 16,
        ("ignored", "all"): 5 / 16,
        ("wrong", "all"): 0.0,
        ("shallow", "all"): 1 / 4,
        ("intermediate_usage", "multi_hop"): 1 / 3,
        ("hop_accuracy", "multi_hop"): 1 / 4,
        ("hop_accuracy", "portability"): 3 / 8,
        ("independence_text", "far"): 3 / 4,
        ("independence_text", "near"): 2 / 4,
        ("independence_text", "all"): 5 / 8,
        ("independence_text", "other_subject"): 2 / 4,
        ("kept_correct_text", "far"): 3 / 4,
        ("apply_s_p50", "all"): 2.5,
        ("stored_bytes", "all"): 100.0,
        ("query_overhead_s", "all"): 0.4,
    }
    found = {label: value(summary, *label) for label in expected}
    assert found == {label: round(number, 6) for label, number in expected.items()}
    assert summary.methods == ("ft",)
    assert (summary.reader, summary.run, summary.num_failed_steps) == ("fake-1", "r", 0)


def test_each_tag_has_scores_like_a_stratum(world: World) -> None:
    fill(world)
    tags = {edit.id: [f"tier:{'low' if i < 2 else 'high'}", "frames:1"] for i, edit in enumerate(world.edits)}
    del tags[world.edits[3].id]
    summary = summarise(world.edits, world.probes, world.rows, reader=world.reader, tags=tags)
    found = {name: get(summary, "grounded", "exact", stratum=name) for name in ("tier:low", "tier:high", "frames:1")}
    assert {name: (score.value, score.n) for name, score in found.items()} == {
        "tier:low": (1.0, 2),
        "tier:high": (0.0, 1),
        "frames:1": (pytest.approx(2 / 3), 3),
    }
    assert value(summary, "grounded", "exact") == 2 / 4, "every edit, tagged or not"
    assert value(summary, "shallow", "all", stratum="tier:low") == 1 / 2
    assert get(summary, "grounded", "exact", stratum="tier:high").low is None, "one edit has no interval"
    plain = world.summary(bootstrap_resamples=2000)
    assert [score for score in summary.scores if ":" not in score.stratum] == list(plain.scores)


def test_a_hop_counts_where_the_edited_fact_stands(world: World) -> None:
    edit = world.edit()
    gamma = {"answer": {"text": "gamma"}}
    passed = {"expectation": {"kind": "answer", **gamma}, "intermediates": [{"text": "tarvex"}]}
    right, wrong = ("ring, tarvex, gamma.", "gamma"), ("ring, tarvex, beta.", "beta")
    for level, said in (("hop1.first", right), ("hop1.last", wrong), ("hop2.middle", right), ("hop2.last", right)):
        world.ask(edit, "portability", level, wrong, said, **passed)
    found = {
        score.level: (score.value, score.n)
        for score in world.summary().scores
        if score.metric == "answer" and score.stratum == "all" and score.n
    }
    assert found == {
        "hop1.first": (1.0, 1), "hop1.last": (0.0, 1), "hop2.middle": (1.0, 1), "hop2.last": (1.0, 1),
        "hop1": (0.5, 2), "hop2": (1.0, 2), "first": (1.0, 1), "middle": (1.0, 1), "last": (0.5, 2),
        "multi_hop": (1.0, 2), "portability": (0.75, 4), "all": (0.75, 4),
    }  # fmt: skip


def test_what_a_benchmark_lacks_is_none_with_a_reason(world: World) -> None:
    fill(world)
    summary = world.summary()
    near_image = get(summary, "independence_image", "near")
    assert (near_image.value, near_image.n) == (None, 0)
    assert near_image.reason == "the benchmark has no near image locality probes"
    assert get(summary, "kept_correct_text", "near").reason == "the true answer of the probe is not known (4)"
    assert get(summary, "peak_bytes", "all").reason == "not recorded for this step (4)"
    assert all(score.reason for score in summary.scores if score.value is None)


def test_each_score_holds_the_contract_and_counts_every_probe(world: World) -> None:
    fill(world)
    summary = world.summary()
    num_at = {"exact": 4, "generality": 4, "hop1": 4, "multi_hop": 4, "portability": 8, "all": 16}
    for score in summary.scores:
        dumped = json.loads(score.model_dump_json())
        assert set(dumped) >= CONTRACT
        assert score.metric in METRICS
        assert score.num_unscored == sum(score.unscored_reasons.values())
        assert (score.value is None) == (score.n == 0)
        if score.low is not None and score.value is not None and score.high is not None:
            assert score.low <= score.value + 1e-9 and score.value <= score.high + 1e-9
        if score.metric in ("tf", "grounded", "collapse") and score.level in num_at:
            assert score.n + score.num_unscored == num_at[score.level]


def test_the_labels_of_a_level_add_up_to_one(world: World) -> None:
    fill(world)
    summary = world.summary()
    labels = ("grounded", "collapse", "dissonance_explicit", "dissonance_implicit", "ignored", "wrong")
    for level in ("exact", "generality", "hop1", "multi_hop", "all"):
        assert sum(value(summary, label, level) or 0 for label in labels) == pytest.approx(1)


def test_a_failed_step_leaves_its_probes_unscored_and_counted(world: World) -> None:
    fill(world)
    failing = world.edits[2].id
    first = next(row for row in world.rows if row.edit_id == failing and row.phase == "after")
    world.rows = [row for row in world.rows if row.edit_id != failing or row.phase == "before"]
    probe = next(probe for probe in world.probes if probe.id == first.probe_id)
    world.rows.append(world.make_failed_row(probe, "apply", step=2))
    summary = world.summary()
    grounded = get(summary, "grounded", "exact")
    assert (grounded.value, grounded.n, grounded.num_unscored) == (pytest.approx(2 / 3), 3, 1)
    assert grounded.unscored_reasons == {"step failed: apply": 1}
    assert get(summary, "independence_text", "near").unscored_reasons == {"step failed: apply": 1}
    assert get(summary, "apply_s_p50", "all").unscored_reasons == {"step failed: apply": 1}
    assert get(summary, "shallow", "all").unscored_reasons == {"step failed: apply": 1}
    assert summary.num_failed_steps == 1
    assert any("1 step(s) failed at apply" in note for note in summary.notes)


def test_a_method_that_fails_at_every_step_still_appears(world: World) -> None:
    edit = world.edit()
    probe = world.ask(edit, "reliability", "exact", OLD, None)
    world.rows.append(world.make_failed_row(probe, "apply", method="lora"))
    summary = world.summary()
    assert summary.methods == ("lora",)
    grounded = get(summary, "grounded", "exact", "lora")
    assert (grounded.value, grounded.reason) == (None, "step failed: apply (1)")


def test_a_probe_that_was_never_put_is_unscored(world: World) -> None:
    fill(world)
    world.rows.pop()
    summary = world.summary()
    near = get(summary, "independence_text", "near")
    assert near.unscored_reasons == {"no output of the edited model is recorded": 1}
    assert any("incomplete" in note for note in summary.notes)


def test_a_reference_that_failed_is_a_failed_step_and_no_method(world: World) -> None:
    edit = world.edit()
    probe = world.ask(edit, "reliability", "exact", None, NEW)
    world.rows.append(world.make_failed_row(probe, "generate", phase="before", method="reference"))
    summary = world.summary()
    assert (summary.num_failed_steps, summary.methods) == (1, ("ft",))
    assert get(summary, "collapse", "exact").value is None
    assert value(summary, "grounded", "exact") == 1.0
    assert any("asking the unedited model failed at generate" in note for note in summary.notes)


def test_the_gap_is_paired_so_a_probe_without_tf_is_left_out_of_it(world: World) -> None:
    for tf in (0.5, None):
        world.ask(world.edit(), "reliability", "exact", OLD, NEW, row={"tf": tf})
    summary = world.summary()
    assert value(summary, "grounded", "exact") == 1.0
    gap = get(summary, "illusion_gap", "exact")
    assert (gap.value, gap.n, gap.num_unscored) == (-0.5, 1, 1)
    assert (gap.low, gap.high) == (None, None)


def test_a_model_without_chains_has_no_grounded_score(world: World) -> None:
    world.ask(world.edit(), "reliability", "exact", ("", "velmora"), ("", "tarvex"), row={"tf": 1.0})
    summary = world.summary()
    assert value(summary, "grounded", "exact") is None
    assert value(summary, "illusion_gap", "exact") is None
    assert value(summary, "shallow", "all") is None
    assert (value(summary, "answer", "exact"), value(summary, "collapse", "exact")) == (1.0, 0.0)


def test_a_model_without_chains_can_collapse_and_has_no_other_failure(world: World) -> None:
    """Dissonance was 0.0 over the collapsed probes of a model in whose outputs there is no chain to read."""
    world.ask(world.edit(), "reliability", "exact", ("", "velmora"), (None, None))
    summary = world.summary()
    assert value(summary, "collapse", "exact") == 1.0
    for label in ("dissonance_explicit", "dissonance_implicit", "ignored", "wrong"):
        score = get(summary, label, "exact")
        assert (score.value, score.n, score.num_unscored) == (None, 0, 1)


def test_strata_split_the_edits(world: World) -> None:
    fill(world)
    for edit, answers in zip(
        world.edits,
        (["velmora"] * 8, ["velmora"] * 6 + ["x"] * 2, ["tarvex"] * 8, ["x", "y", "z", "velmora"]),
        strict=True,
    ):
        world.believe(edit, answers)
    summary = world.summary()
    grounded = {
        name: value(summary, "grounded", "generality", stratum=name)
        for name in ("all", "conflict", "conflicts-strong", "conflicts-weak", "agrees", "unknown")
    }
    assert grounded == {
        "all": 0.25,
        "conflict": 0.5,
        "conflicts-strong": 1.0,
        "conflicts-weak": 0.0,
        "agrees": 0.0,
        "unknown": 0.0,
    }
    assert get(summary, "grounded", "exact", stratum="conflict").n == 2
    assert summary.strata == {"m": {"conflicts-strong": 1, "conflicts-weak": 1, "agrees": 1, "unknown": 1}}
    assert not any("beliefs" in note for note in summary.notes)


def test_without_beliefs_there_is_one_stratum_and_a_note(world: World) -> None:
    fill(world)
    summary = world.summary()
    assert {score.stratum for score in summary.scores} == {"all"}
    assert any("No beliefs were sampled" in note for note in summary.notes)


def test_methods_are_compared_on_the_same_edits(world: World) -> None:
    for number in range(6):
        edit = world.edit()
        world.ask(edit, "reliability", "exact", OLD, NEW, row={"method": "good"})
        world.ask(edit, "reliability", "exact", None, NEW if number % 2 else OLD, row={"method": "half"})
    summary = world.summary()
    (found,) = [item for item in summary.comparisons if (item.metric, item.level) == ("grounded", "exact")]
    assert (found.a, found.b, found.value, found.num_edits) == ("good", "half", 0.5, 6)
    assert found.low is not None and found.high is not None
    assert 0 <= found.low < 0.5 < found.high <= 1


def test_a_methods_own_reference_is_preferred(world: World) -> None:
    edit = world.edit()
    probe = world.ask(edit, "text_locality", "other_subject", FAR, ("a star.", "zorin"))
    world.rows.append(world.make_row(probe, "a star.", "zorin", phase="before", method="ft"))
    assert value(world.summary(), "independence_text", "near") == 1.0


def test_a_probe_put_again_counts_once_as_last(world: World) -> None:
    edit = world.edit()
    probe = world.ask(edit, "reliability", "exact", OLD, OLD)
    world.rows.append(world.make_row(probe, *NEW))
    grounded = get(world.summary(), "grounded", "exact")
    assert (grounded.value, grounded.n) == (1.0, 1)


def test_checkpoints_of_a_chain_expect_only_what_was_put(world: World) -> None:
    edits = [world.edit(), world.edit()]
    for edit in edits:
        world.ask(edit, "reliability", "exact", OLD, None)
    for checkpoint, put in ((1, edits[:1]), (2, edits)):
        for edit in put:
            row = {"schedule": "lifelong", "checkpoint": checkpoint, "step": checkpoint}
            world.ask(edit, "reliability", "exact", None, NEW, row=row)
    summary = world.summary()
    found = {s.checkpoint: (s.n, s.num_unscored) for s in summary.scores if (s.metric, s.level) == ("tf", "exact")}
    assert found == {1: (0, 1), 2: (0, 2)}
    grounded = {s.checkpoint: s.n for s in summary.scores if (s.metric, s.level) == ("grounded", "exact")}
    assert grounded == {1: 1, 2: 2}


def test_an_imperfect_undo_is_noted(world: World) -> None:
    world.ask(world.edit(), "reliability", "exact", OLD, NEW, row={"is_restored_exactly": False})
    assert any("not restored bit for bit" in note for note in world.summary().notes)


def test_examples_quote_the_raw_output(world: World) -> None:
    fill(world)
    summary = world.summary()
    shown = {example.label: example for example in summary.examples}
    assert shown["ignored"].count == 5
    assert shown["dissonance_implicit"].raw == "<think>a ring means velmora.</think><answer>tarvex</answer>"
    assert shown["dissonance_implicit"].expected == "tarvex"


def test_rows_of_unknown_edits_or_probes_are_refused(world: World) -> None:
    fill(world)
    missing = world.probes.pop()
    with pytest.raises(InputError, match=missing.id):
        world.summary()


def test_the_same_rows_give_the_same_summary(world: World) -> None:
    fill(world)
    assert world.summary() == world.summary()
    assert world.summary(bootstrap_seed=0).scores != world.summary(bootstrap_seed=1).scores


def test_thousands_of_rows_take_seconds(world: World) -> None:
    for number in range(250):
        edit = world.edit()
        for method in ("a", "b"):
            world.ask(edit, "reliability", "exact", OLD, NEW if number % 3 else OLD, row={"method": method})
            for level in ("text_rephrase", "both", "image_rephrase"):
                world.ask(edit, "generality", level, OLD, NEW, row={"method": method, "tf": 0.5})
            for level in ("one", "two"):
                world.ask(edit, "text_locality", level, FAR, FAR, row={"method": method})
        world.believe(edit, ["velmora"] * (number % 9) + ["tarvex"] * (8 - number % 9))
    started = time.perf_counter()
    summary = world.summary(bootstrap_resamples=2000)
    assert len(world.rows) == 6000
    assert get(summary, "grounded", "generality", "a").n == 750
    assert time.perf_counter() - started < 15


def test_the_rules_read_stance_unless_another_reader_is_given(world: World) -> None:
    fill(world)
    summary = summarise(world.edits, world.probes, world.rows)
    assert summary.reader.startswith("rules")
    assert value(summary, "grounded", "exact") == 0.5
