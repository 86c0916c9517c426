"""How a codebook makes room: every case worked out by hand on keys in the plane."""

from __future__ import annotations

import pytest
import torch

from reground.methods.grace.codebook import Codebook

pytestmark = pytest.mark.reference


def book(*entries: tuple[tuple[float, float], str], radius: float = 1.0) -> Codebook:
    made = Codebook.empty(2, 1, torch.device("cpu"))
    for number, (key, label) in enumerate(entries):
        made.admit(torch.tensor(key), label, radius)
        made.values_NH[number] = float(number + 1)
    return made


def test_the_first_edit_gets_an_entry_with_the_initial_radius() -> None:
    made = Codebook.empty(2, 1, torch.device("cpu"))
    place = made.admit(torch.tensor([3.0, 4.0]), "a", 1.0)
    assert (place.kind, place.entry, place.is_new) == ("added", 0, True)
    assert made.radii_N.tolist() == [1.0]


def test_an_edit_beyond_both_radii_gets_an_entry_of_its_own() -> None:
    """d = 2.5 > 1 + 1."""
    made = book(((10.0, 0.0), "a"))
    assert made.admit(torch.tensor([12.5, 0.0]), "b", 1.0).kind == "added"
    assert made.radii_N.tolist() == [1.0, 1.0]


def test_another_label_nearby_splits_both_radii_to_half_the_distance() -> None:
    """d = 1.5 <= 1 + 1, so both end at 0.75."""
    made = book(((10.0, 0.0), "a"))
    place = made.admit(torch.tensor([11.5, 0.0]), "b", 1.0)
    assert (place.kind, place.entry, place.is_new) == ("split", 1, True)
    assert made.radii_N.tolist() == [0.75, 0.75]
    assert made.labels == ("a", "b")


def test_the_same_label_nearby_expands_the_radius_to_the_new_key() -> None:
    """d = 1.5 <= 1 + 1 and d > 1: no entry, and the old one now reaches exactly to the new key."""
    made = book(((10.0, 0.0), "a"))
    place = made.admit(torch.tensor([11.5, 0.0]), "a", 1.0)
    assert (place.kind, place.entry, place.is_new) == ("expanded", 0, False)
    assert len(made) == 1
    assert made.radii_N.tolist() == [1.5]
    is_within_B, _ = made.lookup(torch.tensor([[11.5, 0.0], [11.6, 0.0], [8.6, 0.0]]))
    assert is_within_B.tolist() == [True, False, True]


def test_the_same_label_within_the_radius_changes_nothing() -> None:
    made = book(((10.0, 0.0), "a"))
    assert made.admit(torch.tensor([10.5, 0.0]), "a", 1.0).kind == "covered"
    assert made.radii_N.tolist() == [1.0]


def test_a_split_never_makes_a_radius_larger() -> None:
    """The first split leaves 0.1; the second, at d = 1 on the other side, would have made 0.5 of it."""
    made = book(((10.0, 0.0), "a"), ((10.2, 0.0), "b"))
    torch.testing.assert_close(made.radii_N, torch.tensor([0.1, 0.1]))
    assert made.admit(torch.tensor([9.0, 0.0]), "c", 1.0).kind == "split"
    torch.testing.assert_close(made.radii_N, torch.tensor([0.1, 0.1, 0.5]))


def test_an_input_that_is_edited_again_keeps_one_entry_which_answers_anew() -> None:
    """Two keys at distance 0 split to radius 0, and the old entry goes on answering."""
    made = book(((10.0, 0.0), "a"))
    place = made.admit(torch.tensor([10.0, 1e-6]), "b", 1.0)
    assert (place.kind, place.entry, place.is_new) == ("replaced", 0, True)
    assert (made.labels, made.radii_N.tolist()) == (("b",), [1.0])


def test_labels_are_compared_as_texts() -> None:
    """By the mean of their token ids "ab" and "ba" are the same label."""
    made = book(((10.0, 0.0), "ab"))
    assert made.admit(torch.tensor([11.0, 0.0]), "ba", 1.0).kind == "split"


def test_each_query_gets_the_value_of_its_nearest_key_and_only_within_the_radius() -> None:
    made = book(((10.0, 0.0), "a"), ((10.0, 5.0), "b"), ((-10.0, 0.0), "c"))
    queries_BF = torch.tensor([[10.0, 0.9], [10.0, 4.1], [10.0, 2.4], [-10.0, -1.0], [-10.0, -1.1]])
    is_within_B, values_BH = made.lookup(queries_BF)
    assert is_within_B.tolist() == [True, True, False, True, False]
    assert values_BH.flatten().tolist() == [1.0, 2.0, 1.0, 3.0, 3.0]


def test_a_copy_is_changed_by_itself() -> None:
    made = book(((10.0, 0.0), "a"))
    other = made.copy()
    other.admit(torch.tensor([10.5, 0.0]), "b", 1.0)
    assert (len(made), made.radii_N.tolist()) == (1, [1.0])
