"""Talking to an OpenAI-compatible chat endpoint: one client for models, paraphrasers and judges."""

__all__: list[str] = []
