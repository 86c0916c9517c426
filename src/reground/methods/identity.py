"""Which model an artifact belongs to, and the refusal of any other."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from reground.errors import ArtifactError
from reground.methods.artifact import TENSOR_FILE, Artifact, ModelIdentity, artifact_folder, file_checksum
from reground.models.hf.adapter import HfModel

__all__ = ["ArtifactReader", "check_identity", "fill_module", "model_identity", "read_artifact_tensors"]

#: Numbers of each end of a tensor that count; smaller tensors count whole.
_END_SIZE = 1 << 19


def model_identity(local: HfModel) -> ModelIdentity:
    """The identity of a model as it stands; only without edits in force is it that of the model itself."""
    embeddings = local.module.get_input_embeddings()
    return ModelIdentity(
        name=local.info.name,
        revision=local.info.revision,
        dtype=str(local.dtype).removeprefix("torch."),
        weights=_digest(local.module.named_parameters()),
        embeddings=_digest(embeddings.named_parameters()),
    )


def check_identity(artifact: Artifact, local: HfModel, folder: Path) -> None:
    """Nothing, if an artifact was learned for this model.

    With edits in force the edited weights differ from those it was learned on; the token embeddings are compared then.

    Raises:
        ArtifactError: It was learned for another model, or for another number format of this one.
    """
    known, found = artifact.model, model_identity(local)
    is_same = known.embeddings == found.embeddings if local.edits_in_force else known.weights == found.weights
    if is_same and known.dtype == found.dtype:
        return
    raise ArtifactError(
        f"the artifact of method {artifact.method!r} at {str(folder)!r} was to be used with {found.name!r} "
        f"(revision {found.revision}, {found.dtype}), whose weights are not those it was trained for.",
        f"{known.name!r}, revision {known.revision}, in {known.dtype}",
        f"load that model, or run `reground methods fit {artifact.method} --model {found.name} --out DIR` "
        "and set artifact=DIR.",
    )


def read_artifact_tensors(artifact: Artifact, folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an artifact.

    Raises:
        ArtifactError: They are not there, or are not those that the training wrote.
    """
    path = folder / TENSOR_FILE
    try:
        if file_checksum(path) == artifact.tensors:
            tensors: dict[str, torch.Tensor] = load_file(path)
            return tensors
        cause = None
    except (OSError, SafetensorError) as error:
        cause = error
    raise ArtifactError(
        f"the tensors of the artifact at {str(folder)!r} are missing or not those its training wrote.",
        f"the {TENSOR_FILE} that belongs to the artifact.json beside it",
        f"copy the folder again, or run `reground methods fit {artifact.method}` anew.",
    ) from cause


def fill_module(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], method: str, *, named: str = "sizes"
) -> None:
    """Set all that a module holds to the kept tensors of the same names.

    Args:
        module: What an artifact's settings call for.
        tensors: What was kept.
        method: The method, as a reader knows it.
        named: What in the settings decides the shapes, for the message.

    Raises:
        ArtifactError: They are of other shapes.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if expected != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        raise ArtifactError(
            f"the tensors of an artifact of {method} do not fit the {named} its settings name.",
            ", ".join(f"{name} {shape}" for name, shape in expected.items()),
            "copy the artifact's folder again, or train anew with `reground methods fit`.",
        )
    module.load_state_dict(dict(tensors))


def _digest(named: Iterable[tuple[str, torch.nn.Parameter]]) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(named, key=lambda pair: pair[0]):
        values = parameter.detach().reshape(-1)
        if values.numel() > 2 * _END_SIZE:
            values = torch.cat([values[:_END_SIZE], values[-_END_SIZE:]])
        digest.update(f"{name}:{parameter.dtype}:{tuple(parameter.shape)}:".encode())
        digest.update(values.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class ArtifactReader:
    """Finds, checks and reads the artifact of a trained method, once for each model it is asked for.

    Args:
        method: Registered name of the method.
        given: The setting ``artifact``.
    """

    def __init__(self, method: str, given: str | None) -> None:
        self._method = method
        self._given = given
        self._model: weakref.ref[HfModel] | None = None
        self._read: tuple[Artifact, dict[str, torch.Tensor]] | None = None

    def read(self, local: HfModel) -> tuple[Artifact, dict[str, torch.Tensor]]:
        """The artifact for a model, and its tensors.

        Raises:
            ArtifactError: There is none, it is damaged, or it was learned for another model.
        """
        if self._read is None or self._model is None or self._model() is not local:
            folder = artifact_folder(self._method, local.info.name, self._given)
            artifact = Artifact.read(folder, self._method)
            check_identity(artifact, local, folder)
            self._read = artifact, read_artifact_tensors(artifact, folder)
            self._model = weakref.ref(local)
        return self._read
