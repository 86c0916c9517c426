"""A side memory beside one weight, and a router that decides which of the two a prompt goes through."""

__all__: list[str] = []
