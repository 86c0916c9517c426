"""What a model offers, found out by loading it and asking it about one picture."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image, ImageDraw

from reground.edits.records import ImageRef, Record
from reground.errors import ArtifactError, RegroundError
from reground.methods.base import NeedsMemory
from reground.methods.registry import METHODS, MethodEntry, create_editor, find_artifact
from reground.models.base import Capability, Delimiters, Model, ModelInfo, Query
from reground.models.registry import MODEL_FAMILIES, MODELS

__all__ = ["Check", "Diagnosis", "MethodFinding", "diagnose", "weights_bytes", "working_bytes"]

_SIZE = 224
_QUESTION = "Which shape does the image show?"
_TARGET = "a red circle"


class Check(Record):
    """One thing that was tried.

    Attributes:
        name: What should hold.
        passed: Whether it does; None if the model offers no way to tell.
        found: What was seen, in a few words.
    """

    name: str
    passed: bool | None
    found: str


class MethodFinding(Record):
    """Whether a method works with the model, at its default settings.

    Attributes:
        method: Its name.
        is_available: Whether it does.
        reason: Why not; None if it does.
        working_bytes: Bytes beyond the loaded model that one edit takes, those of activations aside; None where
            that cannot be told without training or editing.
    """

    method: str
    is_available: bool
    reason: str | None = None
    working_bytes: int | None = None


class Diagnosis(Record):
    """Everything that was found.

    Attributes:
        model: Name, revision, number format, device and size.
        family: Published name of its family; None for a model without weights.
        weights_bytes: Bytes of the loaded weights; None for a model without.
        capabilities: What it offers.
        lacked: What other models offer and it does not.
        delimiters: How it marks its chain and its answer.
        end_tokens: What ends an answer, the one to train on first.
        methods: For each method, whether it works.
        question: What was asked about the picture, which shows a red circle on white.
        output: What the model wrote.
        outcome: How reading that ended.
        answer: The answer in it, if any.
        answer_s: Seconds it took, the picture's encoding included.
        checks: What was tried.
    """

    model: ModelInfo
    family: str | None
    weights_bytes: int | None
    capabilities: tuple[Capability, ...]
    lacked: tuple[Capability, ...]
    delimiters: Delimiters
    end_tokens: tuple[str, ...]
    methods: tuple[MethodFinding, ...]
    question: str
    output: str
    outcome: str
    answer: str | None
    answer_s: float
    checks: tuple[Check, ...]

    @property
    def num_failed(self) -> int:
        """Checks that did not pass."""
        return sum(check.passed is False for check in self.checks)


def diagnose(model: Model, image: ImageRef | None = None, *, max_new_tokens: int = 256) -> Diagnosis:
    """What ``model`` offers, which methods work with it, and whether it answers; it is left as it was.

    Args:
        model: A loaded model.
        image: What to ask about; None: a picture of a red circle.
        max_new_tokens: Budget of the answer.

    Raises:
        ImageError: The image cannot be read.
    """
    query = Query(question=_QUESTION, image=image or ImageRef(frames=(_picture("red"),)))
    started = time.perf_counter()
    ((output,),) = model.generate([query], max_new_tokens=max_new_tokens)
    answer_s = time.perf_counter() - started
    trace = output.trace(model.delimiters)
    checks = (
        Check(name="it writes something", passed=output.num_tokens > 0, found=f"{output.num_tokens} tokens"),
        Check(
            name="its output is read as its delimiters say",
            passed=trace.outcome == "answered",
            found=trace.outcome if trace.reason is None else f"{trace.outcome}: {trace.reason}",
        ),
        *_checks_by_score(model, query),
    )
    family, weights_bytes, end_tokens = _weights(model)
    return Diagnosis(
        model=model.info,
        family=family,
        weights_bytes=weights_bytes,
        capabilities=tuple(sorted(model.capabilities)),
        lacked=tuple(sorted(_offered_by_any() - model.capabilities)),
        delimiters=model.delimiters,
        end_tokens=end_tokens,
        methods=tuple(_finding(name, entry, model) for name, entry in METHODS.items()),
        question=query.question,
        output=output.text,
        outcome=trace.outcome,
        answer=trace.answer,
        answer_s=answer_s,
        checks=checks,
    )


def _offered_by_any() -> frozenset[Capability]:
    entries = [*MODELS.values(), *(entry for _, entry in MODEL_FAMILIES.values())]
    return frozenset[Capability]().union(*(entry.capabilities for entry in entries))


def _checks_by_score(model: Model, query: Query) -> Iterator[Check]:
    names = ("scores are finite numbers", "the image has a say", "a query is scored alone as in a batch")
    if "score" not in model.capabilities:
        yield from (Check(name=name, passed=None, found="the model gives no scores") for name in names)
        return
    blank = query.model_copy(update={"image": ImageRef(frames=(_picture(None),))})
    text = Query(question="Name a shape.")
    seen, unseen, _ = (score.log_prob for score in model.score([query, blank, text], [_TARGET] * 3))
    (alone,) = (score.log_prob for score in model.score([query], [_TARGET]))
    yield Check(name=names[0], passed=math.isfinite(seen), found=f"log-probability {seen:.3f}")
    yield Check(name=names[1], passed=seen != unseen, found=f"{seen:.3f} with it, {unseen:.3f} with a blank one")
    # Half precision rounds differently in batches of different shapes; a wrong mask or position is far above that.
    allowed = 0.05 * max(1.0, abs(alone))
    yield Check(name=names[2], passed=abs(seen - alone) <= allowed, found=f"{seen:.3f} in a batch, {alone:.3f} alone")


def weights_bytes(model: Model) -> int | None:
    """Bytes of the loaded weights; None for a model without."""
    return _weights(model)[1]


def _weights(model: Model) -> tuple[str | None, int | None, tuple[str, ...]]:
    if "weights" not in model.capabilities:
        return None, None, ()
    from reground.models.hf.adapter import HfModel

    if not isinstance(model, HfModel):
        return None, None, ()
    held = sum(parameter.numel() * parameter.element_size() for parameter in model.module.parameters())
    return model.family.name, held, model.end_tokens


def working_bytes(name: str, model: Model, settings: Mapping[str, Any] | None = None) -> int | None:
    """Bytes beyond the loaded model that one edit takes, those of activations aside; the model is left as it was.

    Args:
        name: Registered name of the method.
        model: A loaded model that offers what the method needs.
        settings: Of the method; None: its defaults.

    Returns:
        0 for a method that changes no weights, None where it cannot be told without training or editing.

    Raises:
        RegroundError: The model lacks a part that the method works on.
    """
    if "weights" not in METHODS[name].needs:
        return 0
    editor = create_editor(name, settings)
    return editor.working_bytes(model) if isinstance(editor, NeedsMemory) else None


def _finding(name: str, entry: MethodEntry, model: Model) -> MethodFinding:
    absent = sorted(entry.needs - model.capabilities)
    if absent:
        return MethodFinding(method=name, is_available=False, reason=f"the model lacks {', '.join(absent)}")
    try:
        find_artifact(name, None, model.info.name)
    except ArtifactError:
        return MethodFinding(
            method=name,
            is_available=False,
            reason=f"not trained for this model: reground methods fit {name} --model {model.info.name}",
        )
    try:
        return MethodFinding(method=name, is_available=True, working_bytes=working_bytes(name, model))
    except RegroundError as error:
        return MethodFinding(method=name, is_available=False, reason=error.tried)


def _picture(colour: str | None) -> str:
    """Address of a picture of a circle, or of a blank one."""
    image = Image.new("RGB", (_SIZE, _SIZE), "white")
    if colour is not None:
        margin = _SIZE // 4
        ImageDraw.Draw(image).ellipse((margin, margin, _SIZE - margin, _SIZE - margin), fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
