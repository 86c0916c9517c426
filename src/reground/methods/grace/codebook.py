"""Keys, values and deferral radii, and how they make room for a new edit.

Axes: N entries, B queries, F width of keys, H width of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = ["Admission", "Codebook"]

#: Keys closer than this share of their length are one and the same input, computed in two batches.
_SAME_KEY = 1e-3


@dataclass(frozen=True)
class Admission:
    """Where a new edit found its place.

    Attributes:
        entry: Its position in the codebook.
        kind: ``added``: no key was near. ``split``: the nearest key has another label, and both radii end halfway.
            ``replaced``: the same input was edited before, to another label. ``expanded``: the nearest key has the
            same label, and its radius now reaches the new input. ``covered``: it did so already.
    """

    entry: int
    kind: Literal["added", "split", "replaced", "expanded", "covered"]

    @property
    def is_new(self) -> bool:
        """Whether the entry's value has yet to be learned."""
        return self.kind in ("added", "split", "replaced")


class Codebook:
    """Entries of one layer, oldest first. Keys, values and radii are float32 whatever the model is.

    Args:
        keys_NF: What a query is compared with.
        values_NH: What takes the place of the module's output.
        radii_N: How far each key reaches, Euclidean.
        labels: What each entry answers: the text that its value was trained on.

    Source:
        Hartvigsen et al., 2023, "Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors",
        section 2 and algorithm 1. Differs: see ``admit``.
    """

    def __init__(
        self, keys_NF: torch.Tensor, values_NH: torch.Tensor, radii_N: torch.Tensor, labels: tuple[str, ...] = ()
    ) -> None:
        self.keys_NF = keys_NF
        self.values_NH = values_NH
        self.radii_N = radii_N
        self.labels = labels

    @classmethod
    def empty(cls, num_inputs: int, num_outputs: int, device: torch.device) -> Codebook:
        """A codebook without entries, for keys and values of these widths."""
        return cls(
            torch.empty(0, num_inputs, device=device),
            torch.empty(0, num_outputs, device=device),
            torch.empty(0, device=device),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def copy(self) -> Codebook:
        """A codebook that can be changed without changing this one."""
        return Codebook(self.keys_NF.clone(), self.values_NH.clone(), self.radii_N.clone(), self.labels)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What has to be kept besides the labels."""
        return {"keys": self.keys_NF, "values": self.values_NH, "radii": self.radii_N}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], labels: tuple[str, ...], device: torch.device
    ) -> Codebook:
        """The codebook that ``tensors`` and ``labels`` were read from."""
        keys_NF, values_NH, radii_N = (tensors[name].to(device) for name in ("keys", "values", "radii"))
        return cls(keys_NF, values_NH, radii_N, labels)

    def nearest(self, queries_BF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distance (B) to the nearest key of each query, and that key's entry (B); there must be an entry."""
        distances_BN = torch.cdist(queries_BF.float(), self.keys_NF, compute_mode="donot_use_mm_for_euclid_dist")
        found = distances_BN.min(dim=1)
        return found.values, found.indices

    def lookup(self, queries_BF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether each query is within the radius of its nearest key (B, bool), and that key's value (BH)."""
        distances_B, entries_B = self.nearest(queries_BF)
        return distances_B <= self.radii_N[entries_B], self.values_NH[entries_B]

    def admit(self, key_F: torch.Tensor, label: str, radius: float) -> Admission:
        """Make room for an edit whose input has this key and whose target is ``label``.

        With d the distance to the nearest key, e its radius and r the radius of a new key: beyond r + e the edit gets
        an entry of its own. Within, an equal label expands the nearest radius to d; another label splits: both radii
        become d / 2. A new entry's value is zeros until it is set.

        Differs from the paper's released code: labels are compared as texts and not as the mean of their token ids,
        by which different targets can be equal; a split never enlarges a radius; and an input that is edited again
        keeps one entry, where a split would leave two keys at distance 0 of which the old one answers.

        Args:
            key_F: The input of the module at the query token.
            label: The text the edit is trained on.
            radius: Radius of a new key (epsilon_init in the paper).
        """
        key_F = key_F.float()
        if not len(self):
            return self._append(key_F, label, radius, "added")
        (distance,), (entry,) = (found.tolist() for found in self.nearest(key_F[None]))
        reach = float(self.radii_N[entry])
        if distance <= _SAME_KEY * float(key_F.norm()) and self.labels[entry] != label:
            self.labels = (*self.labels[:entry], label, *self.labels[entry + 1 :])
            return Admission(entry, "replaced")
        if distance > radius + reach:
            return self._append(key_F, label, radius, "added")
        if self.labels[entry] != label:
            self.radii_N[entry] = min(reach, distance / 2)
            return self._append(key_F, label, min(radius, distance / 2), "split")
        if distance > reach:
            self.radii_N[entry] = distance
            return Admission(entry, "expanded")
        return Admission(entry, "covered")

    def _append(self, key_F: torch.Tensor, label: str, radius: float, kind: Literal["added", "split"]) -> Admission:
        self.keys_NF = torch.cat([self.keys_NF, key_F[None]])
        self.values_NH = torch.cat([self.values_NH, self.values_NH.new_zeros(1, self.values_NH.shape[1])])
        self.radii_N = torch.cat([self.radii_N, self.radii_N.new_tensor([radius])])
        self.labels = (*self.labels, label)
        return Admission(len(self) - 1, kind)
