"""What an edit could leave behind in a model."""

from __future__ import annotations

import torch

from reground.edits.records import ImageRef
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

__all__ = ["State"]

ONE_PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


class State:
    """Everything about a loaded module that an edit could leave behind."""

    def __init__(self, model: HfModel) -> None:
        module = model.module
        # The first picture makes transformers hang hooks of its own on some towers; they are not the edit's.
        model.fingerprint([Query(question="?", image=ImageRef(frames=(ONE_PIXEL,)))])
        self.tensors = {
            name: tensor.detach().clone() for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        }
        self.modules = [(name, id(part)) for name, part in module.named_modules()]
        self.flags = [parameter.requires_grad for parameter in module.parameters()]
        self.training = [part.training for part in module.modules()]
        self.gradients = [parameter.grad for parameter in module.parameters()]
        self.attributes = set(vars(module))
        self.hooks = sum(
            len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks)
            for part in module.modules()
        )

    def assert_same(self, model: HfModel) -> None:
        now = State(model)
        assert now.modules == self.modules
        assert now.tensors.keys() == self.tensors.keys()
        for name, tensor in self.tensors.items():
            assert torch.equal(now.tensors[name], tensor), name
        assert now.flags == self.flags
        assert now.training == self.training
        assert now.gradients == self.gradients
        assert now.attributes == self.attributes
        assert now.hooks == self.hooks
        assert model.edits_in_force == []
