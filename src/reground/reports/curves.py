"""What a chain of edits leaves of a method, checkpoint by checkpoint, as one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from reground.errors import printable
from reground.evaluation.results import Score, Summary

__all__ = ["Curves", "curves_of", "markdown_curves", "markdown_row", "terminal_curves"]


@dataclass(frozen=True)
class _Figure:
    """A row of each method.

    Attributes:
        heading: What it is called.
        metric, level: Of the score.
        half_metric: What says where half of it is lost.
        digits: After the point.
        unit: What one is in the table, in what the score counts.
    """

    heading: str
    metric: str
    level: str
    half_metric: str | None = None
    digits: int = 2
    unit: float = 1.0


_MIB = 2.0**20
_FIGURES = (
    _Figure("tf, exact", "tf", "exact", "tf_half_at"),
    _Figure("answer, exact", "answer", "exact", "answer_half_at"),
    _Figure("grounded, exact", "grounded", "exact", "grounded_half_at"),
    _Figure("grounded, generality", "grounded", "generality", "grounded_half_at"),
    _Figure("text indep., near", "independence_text", "near"),
    _Figure("text indep., far", "independence_text", "far"),
    _Figure("image indep., near", "independence_image", "near"),
    _Figure("image indep., far", "independence_image", "far"),
    _Figure("collapse", "collapse", "all"),
    _Figure("apply s, p50", "apply_s_p50", "all", digits=3),
    _Figure("query overhead s", "query_overhead_s", "all", digits=3),
    _Figure("training s per edit", "fit_s_per_edit", "all", digits=1),
    _Figure("peak MiB", "peak_bytes", "all", unit=_MIB),
    _Figure("stored MiB", "stored_bytes", "all", digits=3, unit=_MIB),
)
_NOT_MEASURED = "-"
_NEVER = "never"
_LIFELONG = "lifelong"


@dataclass(frozen=True)
class Curves:
    """The curves of one model on one benchmark.

    Attributes:
        title: Whose they are.
        headings: Figure, method, one for each checkpoint, and where half is lost.
        rows: A cell under each heading.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def curves_of(summary: Summary, *, stratum: str = "all", figures: Collection[str] = ()) -> list[Curves]:
    """A table for each model and benchmark with a lifelong schedule; none for other summaries.

    A figure that no method was measured by is left out. ``never``: the last checkpoint has more than half of the
    first one's figure. A dash: not measured there, or nothing that could be lost; the reason is in the summary.

    Args:
        summary: What to show.
        stratum: Which edits the figures are about.
        figures: Which of them, by their headings; none: all.
    """
    scores = [score for score in summary.scores if score.schedule == _LIFELONG and score.stratum == stratum]
    about = "" if stratum == "all" else f", stratum {stratum}"
    found = []
    for model, benchmark in dict.fromkeys((score.model, score.benchmark) for score in scores):
        own = {
            (score.method, score.metric, score.level, score.checkpoint): score
            for score in scores
            if (score.model, score.benchmark) == (model, benchmark)
        }
        checkpoints = sorted({checkpoint for *_, checkpoint in own})
        rows = [
            row
            for figure in _FIGURES
            if not figures or figure.heading in figures
            for method in summary.methods
            if (row := _row(own, figure, method, checkpoints)) is not None
        ]
        headings = ("figure", "method", *(f"T = {checkpoint}" for checkpoint in checkpoints), "half lost at")
        found.append(Curves(f"What is left along the way? {model} on {benchmark}{about}", tuple(headings), tuple(rows)))
    return found


def _row(
    scores: dict[tuple[str, str, str, int], Score], figure: _Figure, method: str, checkpoints: Sequence[int]
) -> tuple[str, ...] | None:
    of_figure = [scores.get((method, figure.metric, figure.level, checkpoint)) for checkpoint in checkpoints]
    values = [None if score is None else score.value for score in of_figure]
    if all(value is None for value in values):
        return None
    cells = [_NOT_MEASURED if value is None else _rounded(value / figure.unit, figure.digits) for value in values]
    return (figure.heading, method, *cells, _half(scores, method, figure, checkpoints, values))


def _half(
    scores: dict[tuple[str, str, str, int], Score],
    method: str,
    figure: _Figure,
    checkpoints: Sequence[int],
    values: Sequence[float | None],
) -> str:
    if figure.half_metric is None:
        return ""
    score = scores.get((method, figure.half_metric, figure.level, checkpoints[-1]))
    if score is not None and score.value is not None:
        return f"{score.value:.0f}"
    first, last = values[0], values[-1]
    return _NEVER if score is not None and first and last is not None else _NOT_MEASURED


def _rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def terminal_curves(summary: Summary, *, stratum: str = "all") -> list[Table]:
    """The curves as tables for a terminal."""
    tables = []
    for curves in curves_of(summary, stratum=stratum):
        table = Table(title=Text(printable(curves.title)), title_justify="left")
        for place, heading in enumerate(curves.headings):
            table.add_column(heading, justify="left" if place < 2 else "right", no_wrap=place > 0)
        for row, below in zip(curves.rows, [*curves.rows[1:], None], strict=True):
            table.add_row(*map(Text, row), end_section=below is None or below[0] != row[0])
        tables.append(table)
    return tables


def markdown_curves(summary: Summary, *, stratum: str = "all", figures: Collection[str] = ()) -> str:
    """The curves as Markdown; see ``curves_of``."""
    lines: list[str] = []
    for curves in curves_of(summary, stratum=stratum, figures=figures):
        lines += [f"**{curves.title}**", "", markdown_row(curves.headings)]
        lines += [markdown_row(["---", "---", *["---:"] * (len(curves.headings) - 2)])]
        lines += [*map(markdown_row, curves.rows), ""]
    return "\n".join(lines)


def markdown_row(cells: Sequence[str]) -> str:
    """Cells as one row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
