"""Room for tokens to come changes where keys and values lie, not what they are."""

from __future__ import annotations

import torch
from transformers import Gemma3TextConfig, Qwen2Config
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from reground.models.hf.key_values import RoomyLayer, roomy_cache


def states(num_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 3, num_tokens, 4), torch.randn(2, 3, num_tokens, 4)


def test_what_is_held_is_what_the_stock_layer_holds() -> None:
    roomy, stock = RoomyLayer(room=2), DynamicLayer()
    for num_tokens in (5, 1, 1, 1, 4, 1):
        new = states(num_tokens)
        found, expected = roomy.update(*new), stock.update(*new)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
        assert roomy.get_seq_length() == stock.get_seq_length()
        assert roomy.get_mask_sizes(1) == stock.get_mask_sizes(1)
    for layer in (roomy, stock):
        layer.crop(-3)
    new = states(1)
    assert torch.equal(roomy.update(*new)[0], stock.update(*new)[0])
    for layer in (roomy, stock):
        layer.reorder_cache(torch.tensor([1, 0]))
    new = states(1)
    assert torch.equal(roomy.update(*new)[0], stock.update(*new)[0])
    for layer in (roomy, stock):
        layer.reset()
    new = states(2)
    assert torch.equal(roomy.update(*new)[1], stock.update(*new)[1])


def test_a_token_is_written_and_what_is_held_stays_where_it_is() -> None:
    layer = RoomyLayer()
    first, _ = layer.update(*states(5))
    for _ in range(3):
        keys, _ = layer.update(*states(1))
        assert keys.data_ptr() == first.data_ptr()


def test_layers_that_forget_are_left_as_they_are() -> None:
    full = roomy_cache(Qwen2Config(num_hidden_layers=2), 9)
    assert [type(layer) for layer in full.layers] == [RoomyLayer, RoomyLayer]
    mixed = Gemma3TextConfig(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], sliding_window=4)
    assert [type(layer) for layer in roomy_cache(mixed, 9).layers] == [DynamicSlidingWindowLayer, RoomyLayer]


def test_no_more_room_is_made_than_can_be_filled() -> None:
    (layer,) = roomy_cache(Qwen2Config(num_hidden_layers=1), 3).layers
    keys, _ = layer.update(*states(5))
    assert keys.untyped_storage().nbytes() == 2 * 3 * (5 + 3) * 4 * 4
