"""What is wrong with a benchmark's content though every record is sound: six kinds, each explained in the docs.

Kinds:
    target_leaked_by_question: a question names the new answer, or a name in it that the prior answer lacks; a word in
        lower case counts only where most questions of the set that use it expect it.
    repeated_across_splits: an edit of a subject that the training data give the same target.
    prior_equals_target: the new answer shares a spelling with the prior one.
    empty_target: the new answer is blank.
    image_shared_across_splits: an image file that the training data hold too.
    locality_overlaps_edit: a locality probe that an edit of the same file answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reground.benchmarks.base import Benchmark
from reground.benchmarks.files import EDITS_FILE, PROBES_FILE
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.published.formats import find_format, require_format, split_name
from reground.benchmarks.registry import is_folder_name, open_benchmark
from reground.benchmarks.validation import find_image_defects, validate_benchmark
from reground.edits.images import is_file_address
from reground.edits.records import Answer, Edit, ImageRef, Probe
from reground.errors import ImageError, InputError, RecordError, RegroundError

__all__ = ["Defect", "DefectReport", "Example", "check_benchmark", "find_defects", "leaked_parts"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
#: A target of more words is a text, not a name.
_MOST_WORDS = 12
#: Capitalised words that name nothing by themselves.
_COMMON = frozenset(("the", "and", "for", "film", "series", "state", "city", "county", "saint"))


@dataclass(frozen=True)
class Example:
    """One place a defect was found: what is wrong, and the file, line and field where these are known."""

    problem: str
    file: str | None = None
    line: int | None = None
    field: str | None = None


@dataclass(frozen=True)
class Defect:
    """All that was found of one kind."""

    kind: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class DefectReport:
    """What a check found: the number of records looked at, and the defects by kind."""

    num_records: int
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class _Checked:
    edit: Edit
    probes: tuple[Probe, ...]
    file: str | None = None
    line: int | None = None


@dataclass
class _Found:
    by_kind: dict[str, list[Example]] = field(default_factory=dict)

    def add(self, kind: str, at: _Checked, problem: str, name: str | None = None) -> None:
        self.by_kind.setdefault(kind, []).append(Example(problem, at.file, at.line, name))

    def add_error(self, error: RegroundError) -> None:
        kind = error.kind if isinstance(error, RecordError) else "unsound_image"
        place = (getattr(error, name, None) for name in ("file", "line", "field"))
        self.by_kind.setdefault(kind, []).append(Example(error.tried, *place))


def check_benchmark(
    name: str, *, format_name: str | None = None, against: str | None = None, image_root: Path | None = None
) -> DefectReport:
    """Every defect of a benchmark, of its records and of its content.

    Args:
        name: A registered name, ``FORMAT:PATH``, or the path of a file or folder.
        format_name: The published format of the paths; None: known by the name of the file, else our own.
        against: Training data that nothing may be shared with, named as ``name`` is.
        image_root: Folder of a published set's images: each that the records name is opened; None: none is.

    Raises:
        UnknownNameError: No such benchmark or format.
        InputError: A file cannot be opened, its format cannot be told, or it takes no image root.
    """
    found = _Found()
    full_name = _full_name(name, format_name)
    if image_root is not None:
        _require_published(full_name, image_root)
    num_records, checked = _records_of(full_name, found, image_root)
    if image_root is not None:
        _add_images(found, checked)
    trained = _records_of(_full_name(against, format_name), _Found())[1] if against is not None else ()
    _add_defects(found, checked, trained)
    return DefectReport(num_records, tuple(Defect(kind, tuple(e)) for kind, e in sorted(found.by_kind.items())))


def find_defects(
    asked: Sequence[tuple[Edit, Sequence[Probe]]], trained: Sequence[tuple[Edit, Sequence[Probe]]] = ()
) -> tuple[Defect, ...]:
    """The content defects of edits and their probes, against training data where they are given."""
    found = _Found()
    _add_defects(
        found, [_Checked(edit, tuple(p)) for edit, p in asked], [_Checked(edit, tuple(p)) for edit, p in trained]
    )
    return tuple(Defect(kind, tuple(examples)) for kind, examples in sorted(found.by_kind.items()))


def leaked_parts(question: str, edit: Edit, target: Answer | None = None) -> tuple[str, ...]:
    """What of its answer a question gives away: all of it, or else the names in it that the prior answer lacks.

    A question that also names the prior answer offers a choice and gives nothing away. A target that is a text of many
    words shares its names with every question about it; only a question that holds all of it gives it away.

    Args:
        question: The question.
        edit: The edit it tests.
        target: The answer it asks for; None: the edit's new one.
    """
    target = target or edit.new_answer
    prior = edit.prior_answer
    if prior is not None and any(_names(question, spelling) for spelling in prior.spellings):
        return ()
    for spelling in target.spellings:
        # Short aliases are codes such as 'is' for Iceland, and words of any question.
        is_telling = len(spelling) > 3 or (spelling == target.text and len(spelling) > 1)
        if is_telling and _names(question, spelling):
            return (str(spelling),)
    known = {word.casefold() for spelling in (prior.spellings if prior else ()) for word in _WORD.findall(spelling)}
    asked = set(_WORD.findall(question)[1:])
    words = _WORD.findall(target.text)
    return tuple(
        str(word)
        for word in (words if len(words) <= _MOST_WORDS else ())
        if word[:1].isupper() and len(word) > 2 and word.casefold() not in _COMMON | known and word in asked
    )


def _names(question: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", question, re.IGNORECASE) is not None


def _full_name(name: str, format_name: str | None) -> str:
    path = Path(name)
    if format_name is not None:
        require_format(format_name)
        return f"{format_name}:{name}"
    if path.name in (EDITS_FILE, PROBES_FILE) and path.is_file():
        return str(path.parent.absolute())
    if path.is_file() or (path.is_dir() and not (path / EDITS_FILE).exists()):
        known = find_format(path)
        if known is not None:
            return f"{known}:{name}"
        if path.is_file():
            raise InputError(
                f"cannot tell the format of {name!r} from its name.",
                f"a folder with {EDITS_FILE} and {PROBES_FILE}, or a file in a published format",
                "name the format with --format.",
            )
    return name


def _require_published(name: str, image_root: Path) -> None:
    if split_name(name) is None:
        raise InputError(
            f"benchmark {name!r} was given the image root {str(image_root)!r}.",
            "an image root for a published data set, e.g. vlkeb:PATH",
            "leave it out: the images of other benchmarks are always checked.",
        )


def _records_of(name: str, found: _Found, image_root: Path | None = None) -> tuple[int, list[_Checked]]:
    published = split_name(name)
    if published is not None:
        scan = scan_published(*published, image_root)
        for error in scan.reading.errors:
            found.add_error(error)
        checked = [
            _Checked(item.edit, tuple(scan.loader.probes(item)), str(item.places[0].file), item.places[0].line)
            for item in scan.items
        ]
        return scan.reading.num_records, checked
    validation = validate_benchmark(name)
    for defect in validation.defects:
        found.add_error(defect)
    num_records = validation.num_edits + validation.num_probes
    if any(isinstance(defect, RecordError) and defect.field != "image" for defect in validation.defects):
        return num_records, []  # records that do not fit together have no content to compare
    return num_records, list(_sound_records(open_benchmark(name), is_own=is_folder_name(name)))


def _sound_records(benchmark: Benchmark, *, is_own: bool) -> Iterator[_Checked]:
    for split in benchmark.card().splits:
        for edit in benchmark.edits(split):
            yield _Checked(edit, tuple(benchmark.probes(edit)) if is_own else ())


def _add_defects(found: _Found, checked: Sequence[_Checked], trained: Sequence[_Checked]) -> None:
    _add_leaks(found, checked)
    for one in checked:
        edit, prior = one.edit, one.edit.prior_answer
        if prior is not None and _folded(edit.new_answer.spellings) & _folded(prior.spellings):
            found.add("prior_equals_target", one, f"{edit.new_answer.text!r} is the prior answer too", "new_answer")
    _add_overlaps(found, checked)
    if trained:
        _add_shared(found, checked, trained)


def _add_leaks(found: _Found, checked: Sequence[_Checked]) -> None:
    asked = [(one, question, target) for one in checked for question, target in dict.fromkeys(_asked_for(one))]
    leaks = [(case, leaked_parts(case[1], case[0].edit, case[2])) for case in asked]
    telling = {part: _is_telling(part, asked) for _, parts in leaks for part in parts}
    for (one, question, target), parts in leaks:
        part = next((part for part in parts if telling[part]), None)
        if part is not None:
            problem = f"{question!r} names {part!r} of the target {target.text!r}"
            found.add("target_leaked_by_question", one, problem, "question")


def _asked_for(one: _Checked) -> Iterator[tuple[str, Answer]]:
    """The questions that ask for the edited fact itself, and what each expects."""
    yield one.edit.question, one.edit.new_answer
    for probe in one.probes:
        if probe.kind in ("reliability", "generality") and probe.expectation.answer is not None:
            yield probe.question, probe.expectation.answer


def _is_telling(part: str, asked: Sequence[tuple[_Checked, str, Answer]]) -> bool:
    """Whether a name, or a word that most questions which use it expect: "How urgent?" is asked whatever the answer."""
    if part != part.casefold():
        return True
    targets = [target for _, question, target in asked if _names(question, part)]
    return 2 * sum(any(_names(text, part) for text in target.spellings) for target in targets) > len(targets)


def _add_images(found: _Found, checked: Iterable[_Checked]) -> None:
    """Open every image file once; an example stands at the first record that names it."""
    opened: set[tuple[str, ...]] = set()
    for one in checked:
        for ref in (one.edit.image, *(probe.image for probe in one.probes)):
            if ref is not None and ref.frames not in opened:
                opened.add(ref.frames)
                for error in find_image_defects([ref]):
                    found.add("unsound_image", one, error.tried, "image")


def _add_overlaps(found: _Found, checked: Sequence[_Checked]) -> None:
    edited = {_asked(one.edit.question, one.edit.image): one.edit for one in checked}
    for one in checked:
        for probe in one.probes:
            other = edited.get(_asked(probe.question, probe.image)) if probe.is_local else None
            if other is not None:
                whose = "its own edit" if other == one.edit else f"another edit ({other.source})"
                found.add("locality_overlaps_edit", one, f"{probe.question!r} is the question of {whose}", probe.kind)


def _add_shared(found: _Found, checked: Sequence[_Checked], trained: Sequence[_Checked]) -> None:
    known = {_fact(one.edit) for one in trained}
    images = set(_image_files(trained))
    told: set[str] = set()
    for one in checked:
        if _fact(one.edit) in known:
            problem = f"{one.edit.subject!r} is given the target {one.edit.new_answer.text!r} in training too"
            found.add("repeated_across_splits", one, problem, "subject")
        for address in _image_files([one]):
            if address in images and address not in told:
                told.add(address)
                found.add(
                    "image_shared_across_splits", one, f"{address!r} is an image of the training data too", "image"
                )


def _image_files(checked: Iterable[_Checked]) -> Iterator[str]:
    for one in checked:
        for ref in (one.edit.image, *(probe.image for probe in one.probes)):
            for address in ref.frames if ref is not None else ():
                if _is_path(address):
                    yield address


def _is_path(address: str) -> bool:
    try:
        return is_file_address(address)
    except ImageError:  # an address nobody can open; opening it says so
        return False


def _asked(question: str, image: ImageRef | None) -> tuple[str, tuple[str, ...]]:
    return " ".join(_WORD.findall(question.casefold())), image.frames if image is not None else ()


def _fact(edit: Edit) -> tuple[str, str]:
    return " ".join(edit.subject.casefold().split()), " ".join(edit.new_answer.text.casefold().split())


def _folded(texts: Iterable[str]) -> set[str]:
    return {" ".join(text.casefold().split()) for text in texts}
