"""In-context demonstrations of copying, updating and retaining, then the new fact."""

__all__: list[str] = []
