"""Second moments of the keys of a corpus, gathered once and kept on disk.

Axes: N tokens, I inputs of the edited module.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from reground.edits.cache import cache_folder
from reground.edits.records import Record
from reground.errors import InputError
from reground.methods.closed_form.activations import every_input
from reground.methods.closed_form.corpus import Corpus, CorpusText
from reground.methods.closed_form.panels import cholesky_solve, column_panels, lower_panels
from reground.methods.closed_form.solve import Inverse, jittered_factor
from reground.models.hf.adapter import HfModel

__all__ = ["KeyStatistics", "StatisticsReport", "precision"]

#: Version of what is written; part of every file's name.
_FORMAT = 2

#: Queries of the corpus whose logits tell one model from another.
_NUM_FINGERPRINTED = 4


class StatisticsReport(Record):
    """Where the statistics of an edit came from.

    Attributes:
        corpus: Name of the corpus.
        num_texts: Texts asked for.
        num_tokens: Tokens whose keys were counted.
        was_kept: Everything was on disk already.
    """

    corpus: str
    num_texts: int
    num_tokens: int
    was_kept: bool


def precision(device: torch.device) -> torch.dtype:
    """Number format to solve in: double where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True)
class KeyStatistics:
    """Second moments of the inputs of some modules over a corpus.

    Attributes:
        files: For each module path, the file that holds its second moment.
        report: Where they came from.
    """

    files: dict[str, Path]
    report: StatisticsReport

    @classmethod
    def gathered(cls, model: HfModel, paths: Sequence[str], corpus: Corpus, num_texts: int) -> KeyStatistics:
        """The statistics of ``model`` as it is now; what is not on disk is computed and put there.

        A file is known by the model's fingerprint on the first questions of the corpus, the module, the content of
        the corpus and the number of texts. It is written whole or not at all.

        Args:
            model: The model, without the edits that the statistics are for.
            paths: Paths of linear modules, in the order in which a pass reaches them.
            corpus: Its texts.
            num_texts: How many of them.

        Raises:
            InputError: The cache folder cannot be written to.
            RecordError: A line of the corpus does not fit.
        """
        first = [text.query for text in corpus.texts(_NUM_FINGERPRINTED)]
        fingerprint = model.fingerprint(first)
        folder = cache_folder() / "key-statistics"
        files = {}
        for path in paths:
            identity = json.dumps([_FORMAT, fingerprint, path, corpus.key, num_texts])
            files[path] = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.safetensors"
        absent = [path for path in paths if not _is_whole(files[path])]
        if absent:
            moments, num_tokens = _second_moments(model, absent, list(corpus.texts(num_texts)))
            for path, moment_II in moments.items():
                _write_tensors(
                    files[path], {"moment": moment_II.cpu().double(), "num_tokens": torch.tensor(num_tokens)}
                )
        num_tokens = int(load_file(files[paths[0]])["num_tokens"])
        report = StatisticsReport(corpus=corpus.name, num_texts=num_texts, num_tokens=num_tokens, was_kept=not absent)
        return cls(files, report)

    def moment(self, path: str) -> torch.Tensor:
        """Mean of k k^T (II) over the tokens of the corpus, in double precision, on the CPU."""
        moment_II: torch.Tensor = load_file(self.files[path])["moment"]
        return moment_II.clone()  # a file that is read from must not be needed any more

    def inverse(self, path: str) -> Inverse:
        """That of the second moment, read off the disk where it is needed; keys are in the precision to solve in.

        Its factor is found once, and kept beside the moment.

        Raises:
            InputError: The cache folder cannot be written to.
        """
        kept = self.files[path].with_suffix(".factor.safetensors")
        if not _is_whole(kept):
            _write_tensors(kept, lower_panels(jittered_factor(self.moment(path))))
        return partial(cholesky_solve, kept)

    def principal(self, path: str) -> tuple[torch.Tensor, Path]:
        """Mean squares (I) of the keys along their principal directions, smallest first, and the directions' file.

        The file holds the directions as ``column_panels``, one direction a column. Found once, and kept beside the
        moment.

        Raises:
            InputError: The cache folder cannot be written to.
        """
        kept = self.files[path].with_suffix(".directions.safetensors")
        if not _is_whole(kept):
            strengths_I, directions_II = torch.linalg.eigh(self.moment(path))
            _write_tensors(kept, {"strengths": strengths_I, **column_panels(directions_II)})
        with safe_open(kept, framework="pt") as file:
            return file.get_tensor("strengths").clone(), kept


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors into the cache, whole or not at all.

    Raises:
        InputError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, draft)
            draft.replace(path)
    except OSError as error:
        raise InputError(
            f"key statistics were to be kept in {str(path.parent)!r}: {error.strerror}.",
            "a folder that can be written to",
            "set the environment variable REGROUND_CACHE to one.",
        ) from error


def _is_whole(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False


def _second_moments(
    model: HfModel, paths: Sequence[str], texts: Sequence[CorpusText]
) -> tuple[dict[str, torch.Tensor], int]:
    """Mean of k k^T by path, and how many tokens it is over."""
    sums: dict[str, torch.Tensor] = {}
    num_tokens = 0
    for batch in _batches(model, texts):
        for path, keys_NI in every_input(model, batch, paths).items():
            exact_NI = keys_NI.to(precision(keys_NI.device))
            sums[path] = exact_NI.T @ exact_NI + sums.get(path, 0)
        num_tokens += int(batch["attention_mask"].sum())
    return {path: total_II / num_tokens for path, total_II in sums.items()}, num_tokens


def _batches(model: HfModel, texts: Sequence[CorpusText]) -> Iterator[dict[str, torch.Tensor]]:
    """The texts as inputs, those that go on after the prompt and those that do not apart."""
    alone = [text.query for text in texts if text.completion is None]
    followed = [(text.query, text.completion) for text in texts if text.completion is not None]
    for start in range(0, len(alone), model.batch_size):
        yield model.prompt_batch(alone[start : start + model.batch_size])
    for start in range(0, len(followed), model.batch_size):
        queries, completions = zip(*followed[start : start + model.batch_size], strict=True)
        yield model.training_batch(queries, completions, ends=True)
