"""A chain of edits in one table: a row for each figure and method, a column for each checkpoint."""

from __future__ import annotations

import io

from rich.console import Console

from reground.evaluation.results import Score, Summary
from reground.reports.curves import curves_of, markdown_curves
from reground.reports.tables import print_summary


def score(method: str, metric: str, level: str, checkpoint: int, value: float | None, **fields: object) -> Score:
    given = {"model": "phantom-med", "benchmark": "multimed", "schedule": "lifelong", "stratum": "all"}
    given |= {"method": method, "metric": metric, "level": level, "checkpoint": checkpoint, "value": value}
    return Score.model_validate({**given, "low": None, "high": None, "n": 10, "num_unscored": 0, **fields})


def summary_of(*scores: Score) -> Summary:
    methods = tuple(dict.fromkeys(one.method for one in scores))
    return Summary(
        protocol_version="1",
        package_version="0",
        reader="fake-1",
        run="r",
        methods=methods,
        num_failed_steps=0,
        num_edits=10,
        num_probes=100,
        scores=scores,
    )


SCORES = (
    *(score("ft", "grounded", "exact", t, value) for t, value in ((1, 1.0), (50, 0.25), (100, None))),
    *(score("lora", "grounded", "exact", t, value) for t, value in ((1, 0.9), (50, 0.8), (100, 0.7))),
    *(score("none", "grounded", "exact", t, 0.0) for t in (1, 50, 100)),
    score("ft", "grounded_half_at", "exact", 100, 50.0),
    score("lora", "grounded_half_at", "exact", 100, None, reason="never below half up to checkpoint 100"),
    score("none", "grounded_half_at", "exact", 100, None, reason="0 at checkpoint 1"),
    score("ft", "independence_text", "near", 100, 0.987),
    score("ft", "grounded", "exact", 1, 0.5, stratum="order:0"),
)


def test_each_figure_is_followed_from_checkpoint_to_checkpoint() -> None:
    (curves,) = curves_of(summary_of(*SCORES))
    assert curves.headings == ("figure", "method", "T = 1", "T = 50", "T = 100", "half lost at")
    assert curves.rows == (
        ("grounded, exact", "ft", "1.00", "0.25", "-", "50"),
        ("grounded, exact", "lora", "0.90", "0.80", "0.70", "never"),
        ("grounded, exact", "none", "0.00", "0.00", "0.00", "-"),
        ("text indep., near", "ft", "-", "-", "0.99", ""),
    )
    ((of_order,),) = (curves.rows for curves in curves_of(summary_of(*SCORES), stratum="order:0"))
    assert of_order[:3] == ("grounded, exact", "ft", "0.50")


def test_markdown_and_terminal_show_the_same_cells() -> None:
    summary = summary_of(*SCORES)
    assert "| grounded, exact | lora | 0.90 | 0.80 | 0.70 | never |" in markdown_curves(summary)
    shown = io.StringIO()
    print_summary(summary, Console(file=shown, width=120))
    assert "What is left along the way?" in shown.getvalue()


def test_edits_that_stand_alone_have_no_curve() -> None:
    alone = summary_of(score("ft", "grounded", "exact", 1, 1.0, schedule="single"))
    assert curves_of(alone) == []
    assert markdown_curves(alone) == ""
