"""Reground edits what a multimodal reasoning model believes, and shows whether the edit reached its reasoning."""

__all__ = ["PROTOCOL_VERSION", "__version__"]

__version__ = "0.1.0"

#: Version of the evaluation protocol (docs/protocol.md). Anything that can move a published number bumps it.
PROTOCOL_VERSION = "1"
