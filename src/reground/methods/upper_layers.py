"""The upper layers of a text model, run again and again on hidden states that were computed once.

An edit of one layer changes nothing below that layer, and nothing in the columns before the first one it touches: a
causal model reads to the left. So image features, the lower layers, and the keys and values of the untouched columns
are computed once for an edit, however many steps its training takes.

Axes: B rows of a batch, T tokens, C columns that are run again, V vocabulary, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.nn import functional
from transformers import Cache

from reground.errors import CapabilityError, InputError, ModelError
from reground.methods.layer_output import hidden_of
from reground.methods.recomputing import recomputing
from reground.methods.training_step import label_loss, num_completion_columns
from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["ModuleRecord", "Replacing", "UpperLayers", "recorded"]

#: From a part's output to what stands in its place.
Replacing = Callable[[torch.Tensor], torch.Tensor]

#: Attention implementations whose masks are tensors that can be cut.
_CUTTABLE_ATTENTION = ("sdpa", "eager")


@dataclass
class ModuleRecord:
    """What went into a module and what came out of it, at its first call inside the block.

    Attributes:
        input_BTH: The first positional input.
        output_BTH: The output.
    """

    input_BTH: torch.Tensor | None = None
    output_BTH: torch.Tensor | None = None

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and output, once the module has been called."""
        assert self.input_BTH is not None and self.output_BTH is not None
        return self.input_BTH, self.output_BTH


@contextmanager
def recorded(model: HfModel, path: str) -> Iterator[ModuleRecord]:
    """A record of the first call of the module at ``path`` inside the block.

    Raises:
        InputError: The module does not turn one tensor of hidden states, rows by tokens by width, into another.
    """
    record = ModuleRecord()

    def keep(_: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if record.input_BTH is not None:
            return
        pair = (*inputs[:1], output)
        if not (len(pair) == 2 and all(isinstance(tensor, torch.Tensor) and tensor.ndim == 3 for tensor in pair)):
            raise InputError(
                f"the module {path!r} of {model.info.name!r} was to be edited; it is called with more than one tensor.",
                "a module from hidden states to hidden states, such as mlp or mlp.down_proj",
                "correct the method's `module`.",
            )
        record.input_BTH, record.output_BTH = inputs[0].detach(), output.detach()

    handle = model.module.get_submodule(path).register_forward_hook(keep)
    try:
        yield record
    finally:
        handle.remove()


class UpperLayers:
    """One teacher-forced batch, from the input of a text layer to the loss; everything below it computed once.

    The weights of these layers, and hooks on their modules, take effect at every call; what is below, and what is to
    the left of ``first_column``, is as it was at construction. Where only a part of the lowest layer is changed whose
    output is what the layer adds last, everything before that part is among what is computed once. The last layer's
    MLP runs on the columns that logits are made of, and on no others. So do its queries, unless its attention may be
    what is edited; the attention's maps are then called one by one, and a hook on the attention as a whole is not.
    With other edits in force, which may read any column and any part, no column and no part is left out.

    Args:
        model: The model.
        layer: The lowest text layer that is run again; negative counts from the last.
        batch: What ``HfModel.training_batch`` returned.
        part: What of that layer the edit changes, as a path within it, ``mlp`` as in ``HfModel.layer_path``; empty:
            anything.
        first_column: The first column that the edit can change. At most the one before the first completion token.

    Attributes:
        first_column: The first column that is run again; hooks see the columns from it on.
        prompt_BC: True where one of the columns that are run again holds a prompt token.

    Raises:
        CapabilityError: The text model has no final norm or no output layer where its family keeps them.
        ModelError: The layers do not reproduce the model's own logits.
    """

    def __init__(
        self,
        model: HfModel,
        layer: int,
        batch: Mapping[str, torch.Tensor],
        *,
        part: str = "",
        first_column: int = 0,
    ) -> None:
        self._model = model
        self._batch = batch
        self._num_kept = num_completion_columns(batch) + 1
        self._prompt_BT = prompt_tokens(batch)
        self._norm, self._head = _top(model)
        self._kwargs: list[dict[str, Any]] = []
        self._start_BCH = torch.empty(0)
        self._layers = model.layers_from(layer)
        is_alone = not model.edits_in_force
        is_cut = first_column > 0 and is_alone and _attention(model) in _CUTTABLE_ATTENTION
        watched = _Watched.of(self._layers[0], model.family.mlp, part) if is_alone else None
        with watched or nullcontext():
            expected_BCV = self._run_whole(is_cut=is_cut)
        self._end = watched.end() if watched is not None else None
        if self._end is not None and len(self._layers) == 1:
            self.first_column = self._prompt_BT.shape[1] - self._num_kept
        else:
            self.first_column = first_column if is_cut and self._cut_settings(first_column) else 0
        self._start_BCH = self._start_BCH[:, self.first_column :].clone()
        self.prompt_BC = self._prompt_BT[:, self.first_column :]
        above = self._layers
        if self._end is not None:
            self._start_BCH, above = torch.empty(0), self._layers[1:]
            self._end = self._end.from_column(self.first_column)
        self._last: _Halves | None = None
        if is_alone and above:
            # What is edited may be the attention, and want all of its columns, if there is no layer in between.
            is_above = self._end is not None or len(above) > 1
            is_few = is_above and _attention(model) in _CUTTABLE_ATTENTION
            few = _FewQueries.of(above[-1], self._kwargs[-1], self._num_kept) if is_few else None
            self._last = _Halves.of(above[-1], model.family.mlp, few)
        self._check(expected_BCV)

    def starts_at(self, part: str) -> bool:
        """Whether the output of a part is the lowest thing that is computed again.

        Args:
            part: Its full path.
        """
        return self._end is not None and self._end.part is self._model.module.get_submodule(part)

    @property
    def part_input(self) -> torch.Tensor:
        """What goes into the part that these layers start at (BCF); of no meaning where they start at none."""
        assert self._end is not None
        return self._end.input_BCF

    def forget_part_input(self) -> None:
        """Compute the output of the part that these layers start at, and let go of what goes into it.

        ``logits`` and ``loss`` are then to be given what stands in its place.
        """
        assert self._end is not None
        self._end.forget_input()

    def logits(self, instead: Replacing | None = None) -> torch.Tensor:
        """Logits (BCV) of the columns that predict a completion token, and of the last one.

        Args:
            instead: Gives what stands in the place of the lowest part's output, from that output, which is then
                computed once; only where these layers start at a part (``starts_at``) whose own weights stay.
        """
        hidden_BCH = self._start_BCH
        above = list(zip(self._layers, self._kwargs, strict=True))
        with self._model.passing(self.prompt_BC), recomputing(self._model, self.prompt_BC.numel()):
            if self._end is not None:
                hidden_BCH, above = self._end.output(instead), above[1:]
            for layer, kwargs in above[: -1 if self._last is not None else None]:
                hidden_BCH = hidden_of(layer(hidden_BCH, **kwargs))
            if self._last is not None:
                hidden_BCH = self._last.attended(hidden_BCH, above[-1][1], self._num_kept)
                hidden_BCH = self._last.transformed(hidden_BCH)
        logits_BCV: torch.Tensor = self._head(self._norm(hidden_BCH[:, -self._num_kept :]))
        return logits_BCV

    def loss(self, instead: Replacing | None = None) -> torch.Tensor:
        """Mean cross-entropy over the completion tokens, natural logarithm; see ``logits``."""
        return label_loss(self.logits(instead), self._batch)

    def _cut_settings(self, first: int) -> bool:
        """Settings for the columns from ``first`` on, if every layer has them; whether it has."""
        counted_BT = self._batch["attention_mask"] == 1
        cut = [
            _cut(kwargs, layer, first, counted_BT, self._model.family.layer_inputs)
            for kwargs, layer in zip(self._kwargs, self._layers, strict=True)
        ]
        if None in cut:
            self._kwargs = [_without_cache(kwargs) for kwargs in self._kwargs]
            return False
        self._kwargs = [kwargs for kwargs in cut if kwargs is not None]
        return True

    @torch.no_grad()
    def _run_whole(self, *, is_cut: bool) -> torch.Tensor:
        """The model's own logits; on the way, what goes into the first of the layers, and the settings of each.

        Layers that this batch passes by, as those that look across at images do without any, are left out from now on.
        """
        self._kwargs = []
        called: list[torch.nn.Module] = []

        def keep(layer: torch.nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            settings = dict(kwargs)
            hidden_BTH = inputs[0] if inputs else settings.pop("hidden_states")
            if not self._kwargs:
                self._start_BCH = hidden_BTH.detach()
            self._kwargs.append(settings)
            called.append(layer)

        inputs = {name: tensor for name, tensor in self._batch.items() if name != "labels"}
        with ExitStack() as stack:
            for layer in self._layers:
                handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
                stack.callback(handle.remove)
            stack.enter_context(self._model.passing(self._prompt_BT))
            logits_BCV: torch.Tensor = self._model.module(
                **inputs, use_cache=is_cut, logits_to_keep=self._num_kept, return_dict=True
            ).logits
        self._layers = called
        return logits_BCV

    @torch.no_grad()
    def _check(self, expected_BCV: torch.Tensor) -> None:
        """Make sure of the logits.

        A last layer whose attention is another one calls its own from then on; one that is not made of the two halves
        is run whole.
        """
        counted_BC = (self._batch["attention_mask"][:, -self._num_kept :] == 1).to(expected_BCV.device)
        # Far above rounding in any number format, far below what a missing or doubled part would make.
        allowed = torch.finfo(expected_BCV.dtype).eps ** 0.5 * float(expected_BCV[counted_BC].abs().max())
        if self._last is not None:
            if self._gap(expected_BCV, counted_BC) <= allowed:
                return
            if self._last.attention is not None:
                self._last.attention = None
                if self._gap(expected_BCV, counted_BC) <= allowed:
                    return
            self._last = None
        gap = self._gap(expected_BCV, counted_BC)
        if not gap <= allowed:
            raise ModelError(
                f"the upper {len(self._layers)} layers of {self._model.info.name!r}, run by themselves, miss the "
                f"model's own logits by {gap:.3g}.",
                f"a gap of at most {allowed:.3g}: layers, final norm and output layer that follow one another",
                "use a method that trains through the whole model, such as ft or lora.",
            )

    def _gap(self, expected_BCV: torch.Tensor, counted_BC: torch.Tensor) -> float:
        try:
            found_BCV = self.logits()
        except (TypeError, RuntimeError) as error:
            if self._last is None or isinstance(error, torch.OutOfMemoryError):
                raise
            return math.inf  # the attention is called in another way, or makes heads of other shapes
        return float((found_BCV - expected_BCV)[counted_BC].abs().max())


@dataclass
class _End:
    """The part of a layer whose output is what the layer adds last, and what comes to it.

    Attributes:
        part: It.
        start_BCH: Hidden states that its output is added to.
        input_BCF: What goes into it.
        own_BCH: What comes out of it, once it has been kept.
    """

    part: torch.nn.Module
    start_BCH: torch.Tensor
    input_BCF: torch.Tensor
    own_BCH: torch.Tensor | None = None

    def output(self, instead: Replacing | None = None) -> torch.Tensor:
        """The layer's output; with something in the place of the part's."""
        if instead is None:
            output_BCH: torch.Tensor = self.start_BCH + self.part(self.input_BCF)
            return output_BCH
        return self.start_BCH + instead(self._own())

    def forget_input(self) -> None:
        """Keep what comes out of the part, and what goes into it no longer."""
        self._own()
        self.input_BCF = torch.empty(0)

    @torch.no_grad()
    def _own(self) -> torch.Tensor:
        if self.own_BCH is None:
            self.own_BCH = self.part(self.input_BCF)
        return self.own_BCH

    def from_column(self, first: int) -> _End:
        """The same without the columns to the left."""
        return _End(self.part, self.start_BCH[:, first:].clone(), self.input_BCF[:, first:].clone())


class _Watched:
    """Watches a layer's first call inside the block for an end of it that can be run alone."""

    def __init__(self, layer: torch.nn.Module, norm: torch.nn.Module, parts: Sequence[torch.nn.Module]) -> None:
        self._layer, self._norm, self._parts = layer, norm, parts
        self._start_BTH = self._output_BTH = torch.empty(0)
        self._inputs: list[torch.Tensor] = []
        self._handles: list[Any] = []

    @classmethod
    def of(cls, layer: torch.nn.Module, mlp: str, part: str) -> _Watched | None:
        """For a part of a layer's MLP, and else for the MLP; None for any other part.

        Args:
            layer: The layer.
            mlp: Path of its MLP.
            part: A path as in ``HfModel.layer_path``.
        """
        norm = getattr(layer, "post_attention_layernorm", None)
        if part.partition(".")[0] != "mlp" or not isinstance(norm, torch.nn.Module):
            return None
        paths = dict.fromkeys((mlp, mlp + part.removeprefix("mlp")))
        return cls(layer, norm, [layer.get_submodule(path) for path in paths])

    def __enter__(self) -> Self:
        def keep_start(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self._start_BTH = inputs[0].detach()

        def keep_input(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self._inputs.append(inputs[0].detach())

        def keep_output(_: torch.nn.Module, __: Any, output: Any) -> None:
            self._output_BTH = hidden_of(output).detach()

        self._handles = [
            self._norm.register_forward_pre_hook(keep_start),
            *(part.register_forward_pre_hook(keep_input) for part in self._parts),
            self._layer.register_forward_hook(keep_output),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def end(self) -> _End | None:
        """The smallest part that does what the layer did last; None if there is none: layers differ in build."""
        allowed = math.sqrt(torch.finfo(self._output_BTH.dtype).eps) * float(self._output_BTH.abs().max())
        for part, input_BTF in reversed(list(zip(self._parts, self._inputs, strict=True))):
            end = _End(part, self._start_BTH, input_BTF)
            output_BTH = part(input_BTF)
            if output_BTH.shape == self._output_BTH.shape:
                gap = float((self._start_BTH + output_BTH - self._output_BTH).abs().max())
                if gap <= allowed:
                    return end
        return None


class _Halves:
    """A layer as attention and MLP, each behind a norm and added to what came in, as many are built.

    Args:
        layer: The layer.
        mlp: Its MLP.
        attention: Attends from a few columns only; None: the layer's own attention, from every column.
    """

    def __init__(self, layer: Any, mlp: torch.nn.Module, attention: _FewQueries | None = None) -> None:
        self._layer, self._mlp = layer, mlp
        self._device: torch.device = next(layer.parameters()).device  # layers may be spread over several
        self.attention = attention

    @classmethod
    def of(cls, layer: torch.nn.Module, mlp: str, attention: _FewQueries | None) -> _Halves | None:
        """Those of a layer, None if its parts go by other names."""
        names = ("input_layernorm", "self_attn", "post_attention_layernorm")
        if mlp not in dict(layer.named_modules()):
            return None
        if not all(isinstance(getattr(layer, name, None), torch.nn.Module) for name in names):
            return None
        return cls(layer, layer.get_submodule(mlp), attention)

    def attended(self, hidden_BCH: torch.Tensor, kwargs: Mapping[str, Any], num_kept: int) -> torch.Tensor:
        """Hidden states of the last ``num_kept`` columns after the attention."""
        hidden_BCH = hidden_BCH.to(self._device)
        normed_BCH = self._layer.input_layernorm(hidden_BCH)
        if self.attention is not None:
            return hidden_BCH[:, -num_kept:] + self.attention.output(normed_BCH)
        return (hidden_BCH + hidden_of(self._layer.self_attn(hidden_states=normed_BCH, **kwargs)))[:, -num_kept:]

    def transformed(self, hidden_BCH: torch.Tensor) -> torch.Tensor:
        """Hidden states after the MLP, from those after the attention."""
        ended_BCH: torch.Tensor = hidden_BCH + self._mlp(self._layer.post_attention_layernorm(hidden_BCH))
        return ended_BCH


class _FewQueries:
    """An attention with rotated keys, as many are built, whose queries come from the last columns only.

    Whether a layer's attention is built like this shows in the logits; see ``UpperLayers``.

    Args:
        attention: The layer's attention.
        rotations: Cosines and sines of every column's angles (BCD, with one row for all, or one for each).
        mask: What is added to scores, or True where a column is seen; from the last columns.
        prefix: Keys and values of the columns to the left.
    """

    def __init__(
        self,
        attention: Any,
        rotations: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
        prefix: _Prefix | None,
    ) -> None:
        device = next(attention.parameters()).device
        self._attention, self._mask, self._prefix = attention, mask.to(device), prefix
        cos_BCD, sin_BCD = (angles.to(device) for angles in rotations)
        half = sin_BCD.shape[-1] // 2
        # A vector's halves change places, and the first becomes negative: told once, in the sines.
        signed_BCD = torch.cat([-sin_BCD[..., :half], sin_BCD[..., half:]], dim=-1)
        self._cos_B1CD, self._sin_B1CD, self._half = cos_BCD[:, None], signed_BCD[:, None], half

    @classmethod
    def of(cls, layer: torch.nn.Module, kwargs: Mapping[str, Any], num_kept: int) -> _FewQueries | None:
        """That of a layer for the last ``num_kept`` columns; None if it is built in another way at first sight.

        Args:
            layer: The layer.
            kwargs: Its settings for the columns that are run again.
            num_kept: Columns that queries come from.
        """
        attention = getattr(layer, "self_attn", None)
        names = ("q_proj", "k_proj", "v_proj", "o_proj")
        if not all(isinstance(getattr(attention, name, None), torch.nn.Module) for name in names):
            return None
        rotations = kwargs.get("position_embeddings")
        if not isinstance(rotations, tuple) or len(rotations) != 2 or rotations[0].ndim != 3:
            return None
        if rotations[0].shape[-1] != getattr(attention, "head_dim", None) or not hasattr(attention, "scaling"):
            return None
        num_columns = rotations[0].shape[1]
        mask = kwargs.get("attention_mask")
        if mask is None:
            mask = _causal_mask(num_columns, num_columns - num_kept, rotations[0])
        caches = [value for value in kwargs.values() if isinstance(value, _Prefix)]
        return cls(attention, rotations, mask[..., -num_kept:, :], caches[0] if caches else None)

    def output(self, normed_BCH: torch.Tensor) -> torch.Tensor:
        """What the attention adds to the last columns, from what goes into it at every column."""
        queries = self._heads("q", normed_BCH[:, -self._mask.shape[-2] :])
        keys, values = self._heads("k", normed_BCH), self._heads("v", normed_BCH)
        if self._prefix is not None:
            keys, values = self._prefix.update(keys, values)
        attended = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=self._mask,
            scale=self._attention.scaling,
            enable_gqa=queries.shape[1] != keys.shape[1],
        )
        output_BCH: torch.Tensor = self._attention.o_proj(attended.transpose(1, 2).flatten(2))
        return output_BCH

    def _heads(self, name: str, normed_BCH: torch.Tensor) -> torch.Tensor:
        """Queries, keys or values (B, heads, C, width of a head); all but values normed if the model does, rotated."""
        found = getattr(self._attention, f"{name}_proj")(normed_BCH).unflatten(-1, (-1, 2 * self._half))
        if name == "v":
            return found.transpose(1, 2)  # type: ignore[no-any-return]
        norm = getattr(self._attention, f"{name}_norm", None)
        vectors = (found if norm is None else norm(found)).transpose(1, 2)
        num = vectors.shape[2]
        turned = vectors.roll(self._half, dims=-1)
        rotated = torch.addcmul(vectors * self._cos_B1CD[:, :, -num:], turned, self._sin_B1CD[:, :, -num:])
        return rotated.to(vectors.dtype)


def _attention(model: HfModel) -> str | None:
    name: str | None = getattr(model.module.config.get_text_config(), "_attn_implementation", None)
    return name


def _top(model: HfModel) -> tuple[Callable[..., Any], Callable[..., Any]]:
    text_model = model.module.get_submodule(model.family.text_layers.rpartition(".")[0])
    norm = getattr(text_model, "norm", None)
    head = model.module.get_output_embeddings()
    if norm is None or head is None:
        raise CapabilityError(
            f"the upper text layers of {model.info.name!r} were to be run by themselves; "
            f"it has no {'final norm' if norm is None else 'output layer'} beside them.",
            f"a text model with `norm` beside `{model.family.text_layers}`, and output embeddings",
            "use a method that trains through the whole model, such as ft or lora.",
        )
    cap = getattr(model.module.config.get_text_config(), "final_logit_softcapping", None)
    return norm, head if cap is None else lambda hidden: cap * torch.tanh(head(hidden) / cap)


class _Prefix(Cache):  # type: ignore[misc]
    """Keys and values of the columns to the left, the same at every call: nothing is added to them."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._keys = keys
        self._values = values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The columns to the left, and after them the ones that are run."""
        return torch.cat([self._keys, key_states], dim=-2), torch.cat([self._values, value_states], dim=-2)


def _without_cache(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, Cache) else value for name, value in kwargs.items()}


def _cut(
    kwargs: Mapping[str, Any], layer: torch.nn.Module, first: int, counted_BT: torch.Tensor, inputs: Iterable[str]
) -> dict[str, Any] | None:
    """A layer's settings for the columns from ``first`` on; None if these do not stand for themselves.

    They do not if the layer's cache does not hold every column, if the layer attends to anything but columns, or if a
    column to the left of ``first`` sees one to its right, as in a prompt whose tokens see each other both ways.

    Args:
        kwargs: The settings for all columns.
        layer: The layer.
        first: The first column that is run again.
        counted_BT: True where a column is no padding.
        inputs: Settings with columns on the axis before the last.
    """
    if not hasattr(layer, "self_attn"):
        return None
    (cache_name,) = [name for name, value in kwargs.items() if isinstance(value, Cache)]
    held = kwargs[cache_name].layers[layer.self_attn.layer_idx]  # type: ignore[union-attr]
    cos_BTH, sin_BTH = kwargs["position_embeddings"]
    num_columns = cos_BTH.shape[-2]
    mask = kwargs.get("attention_mask")
    if held.keys.shape[-2] != num_columns or (mask is not None and _looks_ahead(mask, first, counted_BT)):
        return None
    cut = dict(kwargs)
    cut[cache_name] = _Prefix(held.keys[..., :first, :].clone(), held.values[..., :first, :].clone())
    cut["position_embeddings"] = (cos_BTH[..., first:, :], sin_BTH[..., first:, :])
    for name in ("position_ids", "cache_position"):
        if isinstance(kwargs.get(name), torch.Tensor):
            cut[name] = kwargs[name][..., first:]
    for name in set(inputs) & kwargs.keys():
        cut[name] = kwargs[name][..., first:, :]
    cut["attention_mask"] = (
        _causal_mask(num_columns, first, cos_BTH) if mask is None else mask[..., first:, :num_columns]
    )
    return cut


def _looks_ahead(mask: torch.Tensor, first: int, counted_BT: torch.Tensor) -> bool:
    """Whether a column to the left of ``first``, no padding, sees one from ``first`` on.

    Args:
        mask: True, or 0 where it is added to scores, where a column (axis before the last) sees another (last axis).
        first: The column.
        counted_BT: True where a column is no padding.
    """
    ahead = mask[..., :first, first : counted_BT.shape[1]]
    sees = ahead if ahead.dtype == torch.bool else ahead == 0
    return bool((sees & counted_BT[:, None, :first, None]).any())


def _causal_mask(num_columns: int, first: int, like: torch.Tensor) -> torch.Tensor:
    """What is added to attention scores of the columns from ``first`` on: no column reads to its right."""
    columns_T = torch.arange(num_columns, device=like.device)
    is_right_CT = columns_T[None, :] > columns_T[first:, None]
    mask = torch.zeros(is_right_CT.shape, dtype=like.dtype, device=like.device)
    return mask.masked_fill(is_right_CT, torch.finfo(like.dtype).min)[None, None]
