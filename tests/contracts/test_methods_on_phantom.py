"""What matters most of the method contract, on the built-in model with its learned weights and default settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import Edit
from reground.errors import ArtifactError
from reground.methods.registry import METHODS, create_editor, find_artifact
from reground.models.base import Query, TargetScore
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.phantom import weights_folder

#: After these every token of the new answer is the most likely one, right behind the prompt.
FORCED = ("ft", "grace", "lora", "rome", "wise")
#: After these the model thinks and then gives the new answer, which `tf` does not see; in a prompt it may even sink.
THINKING = ("crane", "crane-prompt", "ft-chain", "ike", "ike-gold", "lora-chain", "prompt")
#: A small model is led astray by demonstrations; see the page of `ike`.
SETTINGS: Mapping[str, dict[str, object]] = {name: {"num_demonstrations": 0} for name in ("ike", "ike-gold")}

_RELOAD = """
import json, sys
from pathlib import Path
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.hf.adapter import load_hf_model

weights, folder = map(Path, sys.argv[1:])
queries = [Query.model_validate(query) for query in json.loads((folder / "queries.json").read_text())]
model = load_hf_model(str(weights), name="phantom-med", device="cpu")
found = {"": model.fingerprint(queries)}
for path in sorted(folder.iterdir()):
    if path.is_dir():
        with create_editor(path.name).load(model, path) as edited:
            found[path.name] = [edited.fingerprint(queries), [output[0].text for output in edited.generate(queries)]]
        assert model.fingerprint(queries) == found[""], path.name
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Outcome:
    """The new answer's score before and after, next-token logits before, while and after, and what was written."""

    old: TargetScore
    new: TargetScore
    prints: tuple[str, str, str]
    texts: list[str]


def _is_ready(name: str) -> bool:
    """Whether a method can edit phantom-med as installed: a trained one takes part once its artifact ships."""
    try:
        find_artifact(name, {}, "phantom-med")
    except ArtifactError:
        return False
    return True


ON_PHANTOM = [name for name in sorted(METHODS) if _is_ready(name)]


@pytest.fixture(scope="module")
def med() -> HfModel:
    return load_hf_model(str(weights_folder("phantom-med")), name="phantom-med", device="cpu")


@pytest.fixture(scope="module")
def edit() -> Edit:
    return next(edit for edit in PhantomBenchmark().edits("test") if edit.modality == "visual")


@pytest.fixture(scope="module")
def queries(edit: Edit) -> list[Query]:
    """The exact question, the same without its chain, two others on the image, and one that is unrelated."""
    return [
        Query(question=edit.question, image=edit.image),
        Query(question=edit.question, image=edit.image, is_thinking=False),
        Query(question="which organ does this image show?", image=edit.image),
        Query(question="what colour is grass?"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, queries: list[Query]) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    (folder / "queries.json").write_text(json.dumps([query.model_dump(mode="json") for query in queries]))
    return folder


@pytest.fixture(scope="module")
def outcomes(med: HfModel, edit: Edit, queries: list[Query], folder: Path) -> Mapping[str, Outcome]:
    """Every method applied once, saved, and undone."""
    targets = [edit.new_answer.text]
    (old,) = med.score(queries[:1], targets)
    found = {}
    for name in ON_PHANTOM:
        before = med.fingerprint(queries)
        with create_editor(name, SETTINGS.get(name)).apply(med, [edit]) as edited:
            (new,) = edited.score(queries[:1], targets)
            texts = [output[0].text for output in edited.generate(queries)]
            edited.save(folder / name)
            during = edited.fingerprint(queries)
        found[name] = Outcome(old, new, (before, during, med.fingerprint(queries)), texts)
    return found


@pytest.fixture(scope="module")
def reloaded(outcomes: Mapping[str, Outcome], folder: Path) -> dict[str, list[object]]:
    """The same edits loaded one after another by a process that never saw the model before."""
    command = [sys.executable, "-c", _RELOAD, str(weights_folder("phantom-med")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ON_PHANTOM)
def test_undo_restores_the_logits_bit_for_bit(name: str, outcomes: Mapping[str, Outcome]) -> None:
    before, during, after = outcomes[name].prints
    assert (during != before) == (name != "none")
    assert after == before


@pytest.mark.parametrize("name", ON_PHANTOM)
def test_the_edit_changes_the_answer_it_should(name: str, outcomes: Mapping[str, Outcome], edit: Edit) -> None:
    outcome = outcomes[name]
    if name == "none":
        assert outcome.new == outcome.old
        return
    assert outcome.old.top1_share < 1
    if name in THINKING:
        assert outcome.texts[0].endswith(f"<answer> {edit.new_answer.text}</answer>")
        return
    assert outcome.new.log_prob > outcome.old.log_prob
    if name in FORCED:
        assert outcome.new.top1_share == 1


@pytest.mark.parametrize("name", ON_PHANTOM)
def test_a_new_process_that_loads_the_edit_answers_the_same(
    name: str, outcomes: Mapping[str, Outcome], reloaded: Mapping[str, list[object]]
) -> None:
    assert reloaded[""] == outcomes[name].prints[0]
    assert reloaded[name] == [outcomes[name].prints[1], outcomes[name].texts]
