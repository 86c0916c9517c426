"""A module computed in another way for a while, behind accelerate's hooks too."""

from __future__ import annotations

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from reground.models.hf.forward import computed_by, is_computed_otherwise


class Doubles(ModelHook):
    def pre_forward(self, module, *args, **kwargs):  # type: ignore[no-untyped-def]
        return (2 * args[0],), kwargs


@pytest.mark.parametrize("is_hooked", [False, True])
def test_a_module_is_as_it_was_afterwards(is_hooked: bool) -> None:
    module, ones = torch.nn.Linear(3, 2), torch.ones(1, 3)
    if is_hooked:
        add_hook_to_module(module, Doubles())
    before, attributes = module(ones), dict(vars(module))
    with (
        pytest.raises(RuntimeError, match="stop"),
        computed_by(module, lambda forward: lambda inputs: forward(inputs) + inputs.sum()),
    ):
        torch.testing.assert_close(module(ones), before + (6 if is_hooked else 3))
        assert is_computed_otherwise(module)
        raise RuntimeError("stop")
    assert not is_computed_otherwise(module)
    assert vars(module) == attributes
    assert torch.equal(module(ones), before)
