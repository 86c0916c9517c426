"""What the closed-form weight editors share: where an edit acts, keys and their statistics, values, solutions."""

__all__: list[str] = []
