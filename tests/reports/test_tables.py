from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from reground.evaluation.results import Comparison, Example, Score, Summary
from reground.reports.tables import findings, markdown_table, print_summary, terminal_tables

WHERE = {"model": "phantom-med", "benchmark": "phantom", "schedule": "single", "checkpoint": 1}
FIGURES = (
    ("tf", "exact"),
    ("answer", "exact"),
    ("grounded", "exact"),
    ("illusion_gap", "exact"),
    ("grounded", "generality"),
    ("grounded", "hop1"),
    ("grounded", "multi_hop"),
    ("collapse", "all"),
    ("dissonance_explicit", "all"),
    ("shallow", "all"),
    ("independence_text", "near"),
    ("independence_text", "far"),
    ("independence_image", "far"),
)
RAW = "<think>[bold]the ring | means velmora.</think><answer>tarvex</answer>"


def score(method: str, metric: str, level: str, value: float | None, **fields: object) -> Score:
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.03, "high": value + 0.03}
    given = {"method": method, "metric": metric, "level": level, "stratum": "all", "value": value, **ends}
    return Score.model_validate({**WHERE, **given, "n": 10, "num_unscored": 0, **fields})


@pytest.fixture
def summary() -> Summary:
    scores = [score("ft", *figure, 0.5) for figure in FIGURES if figure[1] not in ("hop1",)]
    scores = [s for s in scores if (s.metric, s.level) not in (("illusion_gap", "exact"), ("grounded", "exact"))]
    scores += [score("ft", "illusion_gap", "exact", 1.0), score("ft", "grounded", "exact", 0.0)]
    scores += [score("ft-chain", "illusion_gap", "exact", -0.9), score("ft-chain", "grounded", "exact", 0.94)]
    scores += [score("none", "grounded", "exact", 0.2), score("ft", "independence_image", "near", None)]
    scores += [score("ft", "apply_s_p50", "all", 0.4321), score("ft", "stored_bytes", "all", 1_234_567.0)]
    scores += [score("ft", "grounded", "exact", 0.77, stratum="conflict")]
    example = {"edit_id": "e", "probe_id": "p", "level": "exact", "question": "which?", "expected": "tarvex"}
    examples = [
        Example.model_validate({**WHERE, **example, "method": method, "label": label, "count": count, "raw": raw})
        for method, label, count, raw in (
            ("none", "ignored", 99, "the floor"),
            ("ft", "dissonance_implicit", 7, RAW),
            ("ft-chain", "wrong", 5, "something"),
            ("ft-chain", "grounded", 50, "fine"),
        )
    ]
    compared = {
        "metric": "grounded",
        "level": "exact",
        "value": -0.74,
        "low": -0.9,
        "high": -0.6,
        "num_edits": 9,
    }
    return Summary(
        protocol_version="1",
        package_version="0",
        reader="fake-1",
        run="r",
        methods=("none", "ft", "ft-chain"),
        num_failed_steps=0,
        num_edits=10,
        num_probes=100,
        notes=("a [note].",),
        scores=tuple(scores),
        comparisons=(Comparison.model_validate({**WHERE, **compared, "a": "none", "b": "ft-chain"}),),
        examples=tuple(examples),
    )


def printed(summary: Summary, stratum: str = "all") -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_summary(summary, console, stratum=stratum)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_three_tables_fit_in_120_columns_without_a_cut(summary: Summary) -> None:
    tables = terminal_tables(summary)
    assert [str(table.title).split("\n")[0].split("(")[0].strip() for table in tables] == [
        "Did it take?",
        "How did it fail?",
        "What did it break, and what did it cost?",
    ]
    console = Console(width=120)
    assert all(console.measure(table).minimum <= 120 for table in tables)
    assert "…" not in printed(summary)


@pytest.mark.parametrize("width", [40, 60, 80, 119, 300])
def test_on_a_narrow_terminal_a_table_goes_on_in_another_and_nothing_is_cut(summary: Summary, width: int) -> None:
    """On 80 columns the names of the methods vanished, and figures ended in dots."""
    wide, narrow = io.StringIO(), io.StringIO()
    print_summary(summary, Console(file=wide, width=120))
    print_summary(summary, Console(file=narrow, width=width))
    assert "…" not in narrow.getvalue()
    assert max(map(len, narrow.getvalue().splitlines())) <= width
    for table in narrow.getvalue().split("┏")[1:]:
        assert "ft-chain" in table
    figures = r"\[[^]]*\]|[+-]?\d\.\d\d+"
    shown = [sorted(re.findall(figures, " ".join(text.getvalue().split()))) for text in (wide, narrow)]
    assert shown[0] == shown[1]


def test_a_title_is_not_read_as_markup(summary: Summary) -> None:
    scores = tuple(score.model_copy(update={"benchmark": "a[/b]"}) for score in summary.scores)
    out = io.StringIO()
    print_summary(summary.model_copy(update={"scores": scores}), Console(file=out, width=120))
    assert "a[/b]" in out.getvalue()


def test_tables_have_a_row_per_method_in_running_order_and_a_dash_for_none(summary: Summary) -> None:
    table = terminal_tables(summary)[0]
    cells = [[getattr(cell, "plain", cell) for cell in column.cells] for column in table.columns]
    assert cells[0] == ["none", "ft", "ft-chain"]
    assert cells[1] == ["–", "0.50\n[0.47, 0.53]", "–"]
    assert cells[4] == ["–", "+1.00\n[+0.97, +1.03]", "-0.90\n[-0.93, -0.87]"]
    assert "0.432" in printed(summary)
    assert "1.2M" in printed(summary)


def test_findings_state_what_the_numbers_show(summary: Summary) -> None:
    best, gap, failure = findings(summary)
    assert best == (
        "ft-chain is grounded on the largest share of exact probes: 0.94, then none with 0.20; "
        "paired lead 0.74 [0.60, 0.90]."
    )
    assert gap == "The widest illusion gap is ft's, +1.00 on exact probes (tf 0.50, grounded 0.00)."
    assert failure.startswith("The most common failure is implicit dissonance (7 probes). ft, asked")
    assert failure.endswith(RAW)


def test_raw_output_and_notes_are_not_read_as_markup(summary: Summary) -> None:
    assert "[bold]the ring" in printed(summary).replace("\n", " ")
    assert "a [note]." in printed(summary)


def test_a_quoted_output_does_not_steer_the_terminal(summary: Summary) -> None:
    """An escape sequence that a model wrote went to the screen as it was."""
    examples = tuple(example.model_copy(update={"raw": "\x1b[2J\x1b]0;owned\x07"}) for example in summary.examples)
    spoilt = summary.model_copy(update={"examples": examples, "notes": ("\x1b[31m",)})
    said = printed(spoilt)
    assert "\x1b" not in said and "\x07" not in said
    assert r"\x1b[2J" in said


def test_findings_do_not_claim_a_lead_that_may_be_chance(summary: Summary) -> None:
    close = summary.comparisons[0].model_copy(update={"value": -0.05, "low": -0.2, "high": 0.1})
    best = findings(summary.model_copy(update={"comparisons": (close,)}))[0]
    assert best.endswith("paired lead 0.05 [-0.10, 0.20], which may be chance.")


def test_a_stratum_is_shown_with_its_own_figures(summary: Summary) -> None:
    text = printed(summary, "conflict")
    assert "stratum conflict" in text and "0.77" in text and "0.94" not in text


def test_markdown_has_the_same_figures(summary: Summary) -> None:
    lines = markdown_table(summary).splitlines()
    header = next(line for line in lines if line.startswith("| method"))
    assert header.startswith("| method | tf exact | answer exact | grounded exact |")
    row = next(line for line in lines if line.startswith("| ft-chain"))
    assert row == "| ft-chain | – | – | 0.94 [0.91, 0.97] | -0.90 [-0.93, -0.87] | – | – | – |"
    assert len({line.count("|") for line in lines[2:6]}) == 1


def test_an_empty_summary_prints_no_table(summary: Summary) -> None:
    empty = summary.model_copy(update={"scores": (), "examples": (), "comparisons": ()})
    assert terminal_tables(empty) == [] and findings(empty) == [] and markdown_table(empty) == ""


def test_nothing_grounded_is_said_plainly(summary: Summary) -> None:
    nothing = summary.model_copy(update={"scores": (score("ft", "grounded", "exact", 0.0),)})
    assert findings(nothing)[0] == "No method is grounded on any exact probe."
