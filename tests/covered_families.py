"""Which tiny families a contract is run over."""

__all__ = ["TINY_FAMILY_NAMES"]

#: Families that every contract is run over; ``contracts/test_model_contract.py`` runs over all there are.
TINY_FAMILY_NAMES = ("idefics3", "llava", "qwen2_vl")
