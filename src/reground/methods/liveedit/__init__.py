"""A low-rank expert for each edit, and a router that sees the image and reads the question."""

__all__: list[str] = []
