"""Put the committed results into the pages that show them.

python ci/write_results.py          write
python ci/write_results.py --check  fail if a page says something else
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from crane_table import table
from rich.console import Console

from reground.evaluation.results import Score, Summary, read_summary
from reground.reports.curves import markdown_curves
from reground.reports.tables import findings, markdown_table, print_summary

ROOT = Path(__file__).parent.parent


def as_printed(summary: Summary) -> str:
    """What `reground run show` prints, in a window of 120 columns."""
    paper = io.StringIO()
    print_summary(summary, Console(file=paper, width=120, no_color=True, legacy_windows=False))
    lines = "\n".join(line.rstrip() for line in paper.getvalue().strip().splitlines())
    return f"```text\n{lines}\n```\n"


def as_tables(summary: Summary) -> str:
    """The same tables in Markdown, and the same sentences."""
    sentences = "\n".join(f"- {sentence}" for sentence in findings(summary))
    return f"{markdown_table(summary).strip()}\n\n{sentences}\n"


def as_seeds(summary: Summary) -> str:
    """The figures of each training with their intervals, and what they are on average."""
    seeds = [method for method in summary.methods if method.startswith("seed-")]
    return "\n".join(table([summary], mean_of=seeds)) + "\n"


def as_bare_figures(summary: Summary) -> str:
    """The same without intervals: many methods stand beside each other."""
    return "\n".join(table([summary], intervals=False)) + "\n"


def as_curves(*summaries: Summary) -> str:
    """What chains of edits leave, of all edits and of those whose answers are text.

    Each summary is of one method on the same edits, beside the unedited model, which is shown once.
    """
    first, *others = [(one.num_edits, one.num_probes, one.strata) for one in summaries]
    if any(other != first for other in others):
        raise SystemExit(f"the runs {', '.join(one.run for one in summaries)} are of different edits.")
    methods = tuple(dict.fromkeys(method for summary in summaries for method in summary.methods))
    score_of = {_of_what(score): score for summary in reversed(summaries) for score in summary.scores}
    scores = sorted(score_of.values(), key=lambda score: methods.index(score.method))
    summary = summaries[0].model_copy(update={"methods": methods, "scores": tuple(scores)})
    texts = markdown_curves(summary, stratum="format:free_text", figures=_OF_TEXTS)
    return f"{markdown_curves(summary)}\n{texts}"


def _of_what(score: Score) -> tuple[str, str, str, int, str]:
    return score.method, score.metric, score.level, score.checkpoint, score.stratum


def by_split(*summaries: Summary) -> str:
    """The figures on one split of the suite beside those on another."""
    return "\n".join(table(summaries, ("crane", "gold-retrieval"), intervals=False, names=_SPLITS)) + "\n"


#: Figures of a chain that letters would blur.
_OF_TEXTS = ("grounded, exact", "grounded, generality")
_IN_CHAINS = ("ft", "lora", "grace", "wise")
_SPLITS = ("unseen", "composed", "corrected", "withdrawn", "wrong_fact", "irrelevant_fact")
#: page, recipe, folders of its results, and how they are shown between the comments that name the recipe
PAGES: tuple[tuple[str, str, tuple[str, ...], Callable[..., str]], ...] = (
    ("README.md", "quickstart", ("quickstart",), as_printed),
    ("docs/comparison.md", "methods", ("methods",), as_tables),
    ("docs/multimed.md", "multimed", ("multimed",), as_tables),
    ("docs/lifelong.md", "lifelong", tuple(f"lifelong/{method}" for method in _IN_CHAINS), as_curves),
    ("docs/lifelong.md", "lifelong-crane", ("lifelong/crane-prompt", "lifelong/crane"), as_curves),
    ("docs/methods/crane.md", "crane-seeds", ("crane-seeds",), as_seeds),
    ("docs/methods/crane.md", "crane-ablations", ("crane-ablations",), as_bare_figures),
    ("docs/methods/crane.md", "crane-many", ("crane-many",), as_bare_figures),
    ("docs/methods/crane.md", "crane-splits", tuple(f"crane-splits/{split}" for split in _SPLITS), by_split),
)


def result_in(folder: Path) -> Path:
    """The summary of a run; that of a long chain is kept compressed."""
    plain = folder / "summary.json"
    return plain if plain.is_file() else folder / "summary.json.gz"


def read_result(path: Path) -> Summary:
    if path.suffix != ".gz":
        return read_summary(path)
    with tempfile.NamedTemporaryFile(suffix=".json") as plain:
        plain.write(gzip.decompress(path.read_bytes()))
        plain.flush()
        return read_summary(Path(plain.name))


def shown(page: Path, recipe: str, folders: Sequence[str], show: Callable[..., str]) -> str:
    """The page with the results of a recipe in it."""
    results = [result_in(ROOT / "docs" / "results" / folder) for folder in folders]
    links = [Path(os.path.relpath(result, page.parent)).as_posix() for result in results]
    named = ", ".join(f"[{link}]({link})" for link in links)
    block = f"{show(*map(read_result, results))}\nThis is {named}, as the recipe `{recipe}` wrote it.\n"
    place = re.compile(rf"(<!-- {recipe} -->\n).*?(<!-- /{recipe} -->)", re.DOTALL)
    return place.sub(lambda match: match[1] + block + match[2], page.read_text(encoding="utf-8"))


def main() -> int:
    is_check, is_same = "--check" in sys.argv, True
    for name, recipe, folders, show in PAGES:
        page = ROOT / name
        new = shown(page, recipe, folders, show)
        is_same &= new == page.read_text(encoding="utf-8")
        if not is_check:
            page.write_text(new, encoding="utf-8")
    return 0 if is_same or not is_check else 1


if __name__ == "__main__":
    sys.exit(main())
