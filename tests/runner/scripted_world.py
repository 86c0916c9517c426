"""A world that runs in milliseconds: three invented drugs, a model that knows them, two ways to edit it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, Probe
from reground.evaluation.stance import Stance
from reground.methods.base import EditCost, MethodConfig
from reground.methods.registry import MethodEntry
from reground.models.base import Capability, Delimiters, Model, ModelInfo, Output, Query, TargetScore
from reground.models.registry import ModelEntry
from reground.models.scripted import ScriptedFact, ScriptedModel

CONDITIONS = {
    "velmora": ("tarvexin", "belumide"),
    "oskaris": ("norvatine", "ismodrel"),
    "quillan": ("sulpreza", "pel"),
}
SKY = "what colour is the sky?"

#: Fields of a row that the moment decides: no two runs share them.
OF_THE_MOMENT = {"timings", "peak_bytes", "energy"}

#: What editors were given, in order: lets a test look over an editor's shoulder.
SEEN: list[tuple[str, Any]] = []


class PlainReader:
    """A stance reader without rules: what it says does not matter to the runner."""

    name = "plain"

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        return Stance(label="supports" if new.text in chain else "silent", evidence=None, asserted=None)


def question(condition: str) -> str:
    return f"what is the drug for {condition}?"


def reworded(condition: str) -> str:
    return f"which drug treats {condition}?"


def make_edits() -> list[Edit]:
    return [
        Edit(
            subject=condition,
            relation="drug",
            modality="textual",
            question=question(condition),
            new_answer=Answer(text=new),
            prior_answer=Answer(text=old),
            statement=f"the drug for {condition} is now {new}.",
        )
        for condition, (old, new) in CONDITIONS.items()
    ]


def make_probes(edit: Edit) -> list[Probe]:
    new = Expectation(kind="answer", answer=edit.new_answer)
    same = Expectation(kind="unchanged")
    other = next(name for name in CONDITIONS if name != edit.subject)
    return [
        Probe(edit_id=edit.id, kind="reliability", level="exact", question=edit.question, expectation=new),
        Probe(
            edit_id=edit.id,
            kind="generality",
            level="text_rephrase",
            question=reworded(edit.subject),
            expectation=new,
        ),
        Probe(
            edit_id=edit.id,
            kind="text_locality",
            level="other_subject",
            distance="near",
            question=question(other),
            expectation=same,
        ),
        Probe(
            edit_id=edit.id,
            kind="text_locality",
            level="general_knowledge",
            distance="far",
            question=SKY,
            expectation=same,
        ),
    ]


def write_benchmark(folder: Path) -> None:
    folder.mkdir()
    edits = make_edits()
    write_records(folder / "edits.jsonl", edits)
    write_records(folder / "probes.jsonl", [probe for edit in edits for probe in make_probes(edit)])


def make_facts() -> list[ScriptedFact]:
    facts = [ScriptedFact(question=SKY, answer="blue")]
    for condition, (old, _) in CONDITIONS.items():
        for asked in (question(condition), reworded(condition)):
            facts.append(
                ScriptedFact(
                    question=asked,
                    answer=old,
                    subject=condition,
                    steps=(f"the drug for {condition} is known.",),
                    alternatives=("pel",),
                )
            )
    return facts


class SpiedModel(ScriptedModel):
    """Writes down what it was asked."""

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        if num_samples == 1:
            SEEN.append(("generate", [query.question for query in queries]))
        return super().generate(
            queries,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            num_samples=num_samples,
            seed=seed,
        )


CAPABILITIES: frozenset[Capability] = frozenset({"generate", "score", "logits", "notes", "weights"})
EDITABLE = ModelEntry("scripted_world:load_editable", CAPABILITIES, "A table that can be edited.", has_weights=False)
OVERWRITE = MethodEntry(
    "scripted_world:OverwriteConfig",
    "scripted_world:OverwriteEditor",
    frozenset({"generate", "weights"}),
    "Writes the new answer into the table.",
    {},
)
TELL = MethodEntry(
    "scripted_world:TellConfig",
    "scripted_world:TellEditor",
    frozenset({"generate", "notes"}),
    "States the edit in a note.",
    {},
)


def load_editable(spec: str, dtype: str | None = None, device: str | None = None) -> ScriptedModel:
    SEEN.append(("load", spec))
    return SpiedModel(make_facts(), name=spec, capabilities=CAPABILITIES)


class OverwriteConfig(MethodConfig):
    """What goes wrong: an exception at a stage for one subject, or an undo that is forgotten."""

    fail_at: str | None = None
    fail_for: str = ""
    forgets_to_restore: bool = False
    sleep_s: float = 0.0


class _Edited:
    """A scripted model with its table changed, or with a note."""

    def __init__(self, base: ScriptedModel, olds: list[ScriptedFact], note: str | None, fails_at: str | None) -> None:
        self._base = base
        self._olds = olds
        self._note = note
        self._fails_at = fails_at

    @property
    def info(self) -> ModelInfo:
        return self._base.info

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._base.capabilities

    @property
    def delimiters(self) -> Delimiters:
        return self._base.delimiters

    @property
    def cost(self) -> EditCost:
        return EditCost(apply_s=0.001, peak_bytes=None, stored_bytes=10, num_changed_parameters=len(self._olds))

    def generate(self, queries: Sequence[Query], **settings: Any) -> list[list[Output]]:
        if self._fails_at == "generate":
            raise RuntimeError("out of memory")
        return self._base.generate([query.model_copy(update={"note": self._note}) for query in queries], **settings)

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        return self._base.score([query.model_copy(update={"note": self._note}) for query in queries], targets)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        return self._base.fingerprint(queries)

    def restore(self) -> None:
        SEEN.append(("restore", None))
        for old in self._olds:
            self._base.learn(old)
        if self._fails_at == "restore":
            raise RuntimeError("cannot go back")

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


class OverwriteEditor:
    needs: ClassVar[frozenset[Capability]] = OVERWRITE.needs

    def __init__(self, name: str, config: OverwriteConfig) -> None:
        self.name = name
        self._config = config

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> _Edited:
        SEEN.append(("apply", tuple(edits)))
        assert isinstance(model, ScriptedModel)
        time.sleep(self._config.sleep_s)
        (edit,) = edits
        stage = self._config.fail_at if edit.subject == self._config.fail_for else None
        olds = []
        for fact in make_facts():
            if fact.question == edit.question:
                old = model.learn(fact.model_copy(update={"answer": edit.new_answer.text}))
                assert old is not None
                olds.append(old)
        if stage == "apply":
            raise RuntimeError("half of it is written")
        return _Edited(model, [] if self._config.forgets_to_restore else olds, None, stage)

    def load(self, model: Model, folder: Path) -> _Edited:
        raise NotImplementedError


class TellConfig(MethodConfig):
    pass


class TellEditor:
    needs: ClassVar[frozenset[Capability]] = TELL.needs

    def __init__(self, name: str, config: TellConfig) -> None:
        self.name = name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> _Edited:
        SEEN.append(("tell", tuple(edits)))
        assert isinstance(model, ScriptedModel)
        return _Edited(model, [], " ".join(edit.statement for edit in edits), None)

    def load(self, model: Model, folder: Path) -> _Edited:
        raise NotImplementedError
