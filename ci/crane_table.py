"""The figures that `crane` is judged by, as a table, from the summaries of finished runs.

    python ci/crane_table.py runs/a runs/b --method crane

A column for each method of each run; a figure is followed by its 95 % interval and what it is over.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reground.evaluation.results import Score, Summary

#: Name, metric, level, stratum.
FIGURES: tuple[tuple[str, str, str, str], ...] = (
    ("grounded, exact", "grounded", "exact", "conflict"),
    ("grounded, text rephrase", "grounded", "text_rephrase", "conflict"),
    ("grounded, image rephrase", "grounded", "image_rephrase", "conflict"),
    ("grounded, both", "grounded", "both", "conflict"),
    *(("intermediate usage, " + level, "intermediate_usage", level, "all") for level in ("hop2", "hop3", "hop4")),
    *(("hop accuracy, " + level, "hop_accuracy", level, "all") for level in ("hop1", "hop2", "hop3", "hop4")),
    *(("hop accuracy, edit " + place, "hop_accuracy", place, "all") for place in ("first", "middle", "last")),
    ("hop accuracy, composed", "hop_accuracy", "composed", "all"),
    *(
        (f"independence, {side}, {level}", f"independence_{side}", level, "all")
        for side, levels in (
            ("text", ("all", "near", "far", "other_subject", "other_relation", "unsanctioned_claim")),
            ("image", ("all", "near", "far", "other_question", "look_alike", "unsanctioned_claim")),
        )
        for level in levels
    ),
    *(
        (f"unchanged, {side}, {level}", f"independence_{side}", level, "all")
        for level in ("wrong_fact", "irrelevant_fact")
        for side in ("text", "image")
    ),
    ("collapse", "collapse", "all", "all"),
    ("tf, exact", "tf", "exact", "all"),
    ("apply, p50 (s)", "apply_s_p50", "all", "all"),
    ("query overhead (s)", "query_overhead_s", "all", "all"),
)


def table(summaries: Sequence[Summary], methods: Sequence[str] | None = None, *, intervals: bool = True) -> list[str]:
    """Lines of a Markdown table: a row a figure, a column a method of a summary.

    Args:
        summaries: Of the runs.
        methods: Which of their methods, in this order; None: all.
        intervals: Whether intervals and numbers stand beside the figures.
    """
    columns = [
        (method, {(s.metric, s.level, s.stratum): s for s in summary.scores if s.method == method})
        for summary in summaries
        for method in methods or summary.methods
        if method in summary.methods
    ]
    lines = ["| | " + " | ".join(method for method, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, metric, level, stratum in FIGURES:
        scores = [scores.get((metric, level, stratum)) for _, scores in columns]
        if any(score is not None and score.value is not None for score in scores):
            lines.append(f"| {name} | " + " | ".join(_cell(score, intervals) for score in scores) + " |")
    return lines


def _cell(score: Score | None, intervals: bool) -> str:
    if score is None or score.value is None:
        return "-"
    figure = f"{score.value:.3f}"
    if not intervals:
        return figure
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    return f"{figure}{interval}, n {score.n}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--method", action="append", default=None)
    given = parser.parse_args()
    read = [Summary.model_validate_json((run / "summary.json").read_text(encoding="utf-8")) for run in given.runs]
    print("\n".join(table(read, given.method)))
