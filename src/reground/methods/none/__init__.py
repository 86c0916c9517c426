"""No edit: the floor every method is compared with."""

__all__: list[str] = []
