"""Tables and plain sentences of a summary, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reground.errors import printable
from reground.evaluation.results import Example, Score, Summary
from reground.reports.curves import markdown_row, terminal_curves

__all__ = ["findings", "markdown_table", "print_summary", "terminal_tables"]

_Unit = Literal["share", "signed", "seconds", "bytes"]
_NONE = "–"
_SPREAD: dict[_Unit, _Unit] = {"signed": "share"}
_MAX_QUOTED = 400
_FAILURES = ("collapse", "dissonance_explicit", "dissonance_implicit", "ignored", "wrong")
_IN_WORDS = {
    "collapse": "structural collapse",
    "dissonance_explicit": "explicit dissonance",
    "dissonance_implicit": "implicit dissonance",
    "ignored": "an ignored edit",
    "wrong": "a wrong answer, or a right one that its chain does not carry",
}


@dataclass(frozen=True)
class _Figure:
    """One column of a table: where its scores are found and how they are printed."""

    heading: str
    metric: str
    level: str
    unit: _Unit = "share"


@dataclass(frozen=True, order=True)
class _Setting:
    """What all rows of one table have in common."""

    model: str
    benchmark: str
    schedule: str
    checkpoint: int

    def title(self) -> str:
        """In words; the checkpoint is left out where every edit stands alone."""
        applied = "" if self.schedule == "single" else f", {self.checkpoint} edits applied"
        return f"{self.model} on {self.benchmark}, {self.schedule}{applied}"


_TOOK = (
    "Did it take?",
    (
        _Figure("tf\nexact", "tf", "exact"),
        _Figure("answer\nexact", "answer", "exact"),
        _Figure("grounded\nexact", "grounded", "exact"),
        _Figure("illusion\ngap", "illusion_gap", "exact", "signed"),
        _Figure("grounded\ngenerality", "grounded", "generality"),
        _Figure("grounded\n1-hop", "grounded", "hop1"),
        _Figure("grounded\nmulti-hop", "grounded", "multi_hop"),
    ),
)
_FAILED = (
    "How did it fail? (all in-scope probes; shallow: edits)",
    (
        _Figure("collapse", "collapse", "all"),
        _Figure("dissonance\nexplicit", "dissonance_explicit", "all"),
        _Figure("dissonance\nimplicit", "dissonance_implicit", "all"),
        _Figure("ignored", "ignored", "all"),
        _Figure("wrong", "wrong", "all"),
        _Figure("shallow", "shallow", "all"),
    ),
)
_COST = (
    "What did it break, and what did it cost?",
    (
        _Figure("text indep.\nnear", "independence_text", "near"),
        _Figure("text indep.\nfar", "independence_text", "far"),
        _Figure("image indep.\nnear", "independence_image", "near"),
        _Figure("image indep.\nfar", "independence_image", "far"),
        _Figure("apply s\np50", "apply_s_p50", "all", "seconds"),
        _Figure("stored\nbytes", "stored_bytes", "all", "bytes"),
    ),
)
_TABLES = (_TOOK, _FAILED, _COST)


def print_summary(summary: Summary, console: Console | None = None, *, stratum: str = "all") -> None:
    """Prints the tables, the curves of chains of edits, what the numbers show, and the summary's notes.

    Args:
        summary: What to print.
        console: Where to; standard output by default.
        stratum: Which edits the figures are about.
    """
    console = console or Console()
    tables = terminal_tables(summary, stratum=stratum, width=console.width)
    for table in [*tables, *terminal_curves(summary, stratum=stratum)]:
        console.print(table)
        console.print()
    for sentence in findings(summary, stratum=stratum):
        console.print(Text(printable(sentence)))
    for note in summary.notes:
        console.print(Text(printable(f"Note: {note}"), style="dim"))


def terminal_tables(summary: Summary, *, stratum: str = "all", width: int = 120) -> list[Table]:
    """Three tables per model, benchmark, schedule and checkpoint, one row per method; more where it is narrow.

    Under each figure stands its interval, or the standard deviation if it is a mean over seeds. A figure that was not
    measured is a dash; its reason is in the summary.

    Args:
        summary: What to show.
        stratum: Which edits the figures are about.
        width: Characters to a line; a table that would be wider goes on in a further one, no figure is cut.
    """
    index = _index(summary, stratum)
    tables = []
    for setting, methods in _settings(summary).items():
        for title, figures in _TABLES:
            about = "" if stratum == "all" else f", stratum {stratum}"
            heading = f"{title}\n{setting.title()}{about}"
            columns = [_column(figure, methods, setting, index) for figure in figures]
            num_tables = -(-_table_width(methods, columns) // width)
            while True:
                share = -(-len(columns) // num_tables)
                parts = [columns[start : start + share] for start in range(0, len(columns), share)]
                if share == 1 or all(_table_width(methods, part) <= width for part in parts):
                    break
                num_tables += 1
            tables += [_table(heading, methods, part) for part in parts]
    return tables


@dataclass(frozen=True)
class _Column:
    """One figure of every method, as a terminal shows it."""

    heading: str
    cells: tuple[Text, ...]

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        lines = [*self.heading.split("\n"), *(line for cell in self.cells for line in cell.plain.split("\n"))]
        return max(map(len, lines))


def _column(figure: _Figure, methods: Sequence[str], setting: _Setting, index: _Index) -> _Column:
    scores = [index.get((method, setting, figure.metric, figure.level)) for method in methods]
    return _Column(figure.heading, tuple(_cell(score, figure) for score in scores))


def _table_width(methods: Sequence[str], columns: Sequence[_Column]) -> int:
    widths = [max(map(len, ("method", *methods))), *(column.width for column in columns)]
    return sum(widths) + 3 * len(widths) + 1  # a space on each side of a cell, and the rules between


def _table(heading: str, methods: Sequence[str], columns: Sequence[_Column]) -> Table:
    table = Table(title=Text(printable(heading)), title_justify="left", show_lines=True)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row, method in enumerate(methods):
        table.add_row(Text(method), *(column.cells[row] for column in columns))
    return table


def markdown_table(summary: Summary, *, stratum: str = "all") -> str:
    """The same tables as Markdown, each cell holding the figure and its interval or deviation."""
    index = _index(summary, stratum)
    lines: list[str] = []
    for setting, methods in _settings(summary).items():
        for title, figures in _TABLES:
            about = "" if stratum == "all" else f", stratum {stratum}"
            lines += [f"**{title}** {setting.title()}{about}", ""]
            headings = ["method", *(figure.heading.replace("\n", " ") for figure in figures)]
            lines += [markdown_row(headings), markdown_row(["---", *["---:"] * len(figures)])]
            for method in methods:
                scores = [index.get((method, setting, figure.metric, figure.level)) for figure in figures]
                cells = [_plain(score, figure) for score, figure in zip(scores, figures, strict=True)]
                lines.append(markdown_row([method, *cells]))
            lines.append("")
    return "\n".join(lines)


def findings(summary: Summary, *, stratum: str = "all") -> list[str]:
    """What the numbers show, in a few sentences that follow from them alone.

    Per setting: the method with the highest grounded score on exact probes, with its paired lead over the next; the
    method with the widest illusion gap; the most common failure, with one output quoted as the model wrote it.
    """
    index = _index(summary, stratum)
    settings = _settings(summary)
    sentences = []
    for setting, methods in settings.items():
        where = f"{setting.title()}: " if len(settings) > 1 else ""
        sentences += [where + text for text in _best(summary, index, setting, methods, stratum)]
        sentences += [where + text for text in _widest_gap(index, setting, methods)]
        if stratum == "all":
            sentences += [where + text for text in _most_common_failure(summary, setting)]
    return sentences


_Index = dict[tuple[str, _Setting, str, str], Score]


def _index(summary: Summary, stratum: str) -> _Index:
    return {
        (score.method, _setting_of(score), score.metric, score.level): score
        for score in summary.scores
        if score.stratum == stratum
    }


def _setting_of(item: Score | Example) -> _Setting:
    return _Setting(item.model, item.benchmark, item.schedule, item.checkpoint)


def _settings(summary: Summary) -> dict[_Setting, list[str]]:
    """The settings of a summary in order, each with its methods in the order they ran."""
    seen: dict[_Setting, set[str]] = {}
    for score in summary.scores:
        seen.setdefault(_setting_of(score), set()).add(score.method)
    return {setting: [method for method in summary.methods if method in seen[setting]] for setting in sorted(seen)}


def _cell(score: Score | None, figure: _Figure) -> Text:
    if score is None or score.value is None:
        return Text(_NONE, style="dim")
    cell = Text(_number(score.value, figure.unit))
    if score.low is not None and score.high is not None:
        cell.append(f"\n[{_number(score.low, figure.unit)}, {_number(score.high, figure.unit)}]", style="dim")
    elif score.seed_sd is not None:
        cell.append(f"\n±{_number(score.seed_sd, _SPREAD.get(figure.unit, figure.unit))}", style="dim")
    return cell


def _plain(score: Score | None, figure: _Figure) -> str:
    return _cell(score, figure).plain.replace("\n", " ")


def _number(value: float, unit: _Unit) -> str:
    if unit == "seconds":
        return f"{value:.3f}" if value < 10 else f"{value:.0f}"
    if unit == "bytes":
        return _bytes(value)
    text = f"{value:.2f}"
    if unit == "signed":
        text = f"{value:+.2f}"
    return text.replace("-0.00", "0.00").replace("+0.00", "0.00")


def _bytes(value: float) -> str:
    for suffix in ("", "k", "M"):
        if value < 999.5:
            return f"{value:.0f}{suffix}" if suffix == "" or value >= 99.5 else f"{value:.1f}{suffix}"
        value /= 1000
    return f"{value:.1f}G"


def _scored(index: _Index, setting: _Setting, methods: Sequence[str], metric: str, level: str) -> dict[str, float]:
    found = {}
    for method in methods:
        score = index.get((method, setting, metric, level))
        if score is not None and score.value is not None:
            found[method] = score.value
    return found


def _best(summary: Summary, index: _Index, setting: _Setting, methods: Sequence[str], stratum: str) -> list[str]:
    values = _scored(index, setting, methods, "grounded", "exact")
    if not values:
        return []
    ranked = sorted(values, key=lambda method: -values[method])
    first = ranked[0]
    if values[first] == 0:
        return ["No method is grounded on any exact probe."]
    text = f"{first} is grounded on the largest share of exact probes: {values[first]:.2f}"
    if len(ranked) == 1:
        return [f"{first} is grounded on {values[first]:.2f} of the exact probes."]
    if values[ranked[1]] == values[first]:
        tied = [method for method in ranked if values[method] == values[first]]
        return [f"{', '.join(tied)} share the largest grounded score on exact probes: {values[first]:.2f}."]
    lead = _lead(summary, setting, first, ranked[1]) if stratum == "all" else ""
    return [f"{text}, then {ranked[1]} with {values[ranked[1]]:.2f}{lead}."]


def _lead(summary: Summary, setting: _Setting, first: str, second: str) -> str:
    """The paired difference of two methods on grounded exact, in words, if the summary holds it."""
    for item in summary.comparisons:
        if (item.metric, item.level) != ("grounded", "exact") or {item.a, item.b} != {first, second}:
            continue
        if _Setting(item.model, item.benchmark, item.schedule, item.checkpoint) != setting:
            continue
        if item.value is None or item.low is None or item.high is None:
            return ""
        sign = 1 if item.a == first else -1
        low, high = sorted((sign * item.low, sign * item.high))
        verdict = "" if low > 0 else ", which may be chance"
        return f"; paired lead {sign * item.value:.2f} [{low:.2f}, {high:.2f}]{verdict}"
    return ""


def _widest_gap(index: _Index, setting: _Setting, methods: Sequence[str]) -> list[str]:
    gaps = _scored(index, setting, methods, "illusion_gap", "exact")
    if not gaps:
        return []
    method = max(gaps, key=lambda name: gaps[name])
    if gaps[method] <= 0:
        return ["No method scores higher on tf than on grounded."]
    tf, grounded = (index.get((method, setting, metric, "exact")) for metric in ("tf", "grounded"))
    shown = [
        f"{name} {score.value:.2f}"
        for name, score in (("tf", tf), ("grounded", grounded))
        if score is not None and score.value is not None
    ]
    return [f"The widest illusion gap is {method}'s, {gaps[method]:+.2f} on exact probes ({', '.join(shown)})."]


def _most_common_failure(summary: Summary, setting: _Setting) -> list[str]:
    """The commonest failure over all methods but ``none``, which is meant to fail, with one raw output."""
    failures = [
        example
        for example in summary.examples
        if _setting_of(example) == setting and example.label in _FAILURES and example.method != "none"
    ]
    if not failures:
        return []
    totals: dict[str, int] = {}
    for example in failures:
        totals[example.label] = totals.get(example.label, 0) + example.count
    label = max(totals, key=lambda name: totals[name])
    shown = max((example for example in failures if example.label == label), key=lambda item: item.count)
    raw = shown.raw if len(shown.raw) <= _MAX_QUOTED else f"{shown.raw[:_MAX_QUOTED]} [cut here]"
    return [
        f"The most common failure is {_IN_WORDS[label]} ({totals[label]} probes). "
        f'{shown.method}, asked "{shown.question}" (expected: {shown.expected}), wrote: {raw}'
    ]
