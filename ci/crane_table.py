"""The figures that `crane` is judged by, as a table, from the summaries of finished runs.

    python ci/crane_table.py runs/a runs/b --method crane

A column for each method of each run; a figure is followed by its 95 % interval and what it is over.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from reground.evaluation.results import Score, Summary, read_summary

_IN_SECONDS = frozenset({"apply_s_p50", "query_overhead_s"})
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


def table(
    summaries: Sequence[Summary],
    methods: Sequence[str] = (),
    *,
    intervals: bool = True,
    names: Sequence[str] = (),
    mean_of: Sequence[str] = (),
) -> list[str]:
    """Lines of a Markdown table: a row a figure, a column a method of a summary.

    Args:
        summaries: Of the runs.
        methods: Which of their methods, in this order; none: all.
        intervals: Whether each figure's interval and number stand beside it; else one sentence below the table tells
            how wide the widest is. Seconds are left out then: variants of one method find images encoded by another.
        names: One for each summary, which stands before its methods; none: a method's name is enough.
        mean_of: Columns whose mean and standard deviation stand in one more; none: there is no such column. Seconds are
            left out then too.

    Raises:
        SystemExit: No summary has a method of that name.
    """
    for method in methods:
        if not any(method in summary.methods for summary in summaries):
            raise SystemExit(f"no run has the method {method!r}; they have {', '.join(summaries[0].methods)}.")
    titles = [f"{name}: " for name in names] or [""] * len(summaries)
    columns = [
        (title + method, {(s.metric, s.level, s.stratum): s for s in summary.scores if s.method == method})
        for title, summary in zip(titles, summaries, strict=True)
        for method in methods or summary.methods
        if method in summary.methods
    ]
    heads = [title for title, _ in columns] + (["mean, sd"] if mean_of else [])
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    widest = 0.0
    for name, metric, level, stratum in FIGURES:
        if metric in _IN_SECONDS and (mean_of or not intervals):
            continue
        scores = [scores.get((metric, level, stratum)) for _, scores in columns]
        if any(score is not None and score.value is not None for score in scores):
            cells = [_cell(score, intervals) for score in scores]
            if mean_of:
                cells.append(_mean_cell([s for (title, _), s in zip(columns, scores, strict=True) if title in mean_of]))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        for score in scores:
            if score is not None and score.low is not None and score.high is not None:
                widest = max(widest, score.high - score.low)
    if not intervals:
        lines += ["", f"The widest of the 95 % intervals is {widest:.3f} from end to end."]
    return lines


def _cell(score: Score | None, intervals: bool) -> str:
    if score is None or score.value is None:
        return "-"
    figure = f"{score.value:.3f}"
    if not intervals:
        return figure
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    unscored = f", {score.num_unscored} unscored" if score.num_unscored else ""
    return f"{figure}{interval}, n {score.n}{unscored}"


def _mean_cell(scores: Sequence[Score | None]) -> str:
    known = [score.value for score in scores if score is not None and score.value is not None]
    return f"{fmean(known):.3f}, {stdev(known):.3f}" if len(known) > 1 else "-"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--method", action="append", default=[], help="only these methods; may be given again")
    given = parser.parse_args()
    print("\n".join(table([read_summary(run / "summary.json") for run in given.runs], given.method)))
