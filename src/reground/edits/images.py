"""From an address to pixels: files, ``data:`` URIs and images rendered on demand.

A new kind of address is one line in ``_SCHEMES``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import io
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reground.edits.records import ImageRef
from reground.errors import ImageError, RegroundError

__all__ = ["MAX_PIXELS", "find_file", "image_bytes", "image_key", "is_file_address", "open_image"]

#: A larger image is refused before it is decoded: 64 megapixels are 192 MB of RGB.
MAX_PIXELS = 64_000_000

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[/\\]", re.IGNORECASE)
_NEXT = "correct the path, or restore the file."
_READABLE = "a file Pillow can read (PNG, JPEG, TIFF, WebP, BMP, ...), whole and at most 64 megapixels"
# What Pillow and its decoders raise on damaged input.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def open_image(ref: ImageRef) -> list[Image.Image]:
    """The frames of an image, RGB and upright, one per address.

    EXIF rotation is applied; transparency is laid on white; a single channel deeper than 8 bits is stretched
    from its own minimum and maximum to 0..255, since cutting it off would lose most scans. Of an animation
    the first picture is taken.

    Raises:
        ImageError: An address is unknown, missing, unreadable, cut short, or of more than ``MAX_PIXELS`` pixels.
    """
    return [_open_address(address, ref.folder) for address in ref.frames]


def image_key(ref: ImageRef) -> str:
    """What an image is known by in caches: equal for equal content, whatever it is called.

    The SHA-256 of the bytes for files and ``data:`` URIs, the address itself for rendered images; frames are
    joined with ``|``.

    Raises:
        ImageError: A file is missing or the address is malformed.
    """
    return "|".join(_key(address, ref.folder) for address in ref.frames)


def is_file_address(address: str) -> bool:
    """Whether an address is the path of a file, as against a ``data:`` URI or a rendered image."""
    return _scheme(address) is None


def image_bytes(address: str, folder: str | None = None) -> bytes:
    """The encoded bytes behind a file's path or a ``data:`` URI, as they are.

    Args:
        address: The path, or the URI.
        folder: Where a relative path starts.

    Raises:
        ImageError: A file that is missing or cannot be read, a malformed URI, or a rendered image, which has no bytes.
    """
    scheme = _scheme(address)
    if scheme is None:
        return _read_file(address, folder)
    if scheme == "data":
        return _data_bytes(address)
    raise ImageError(
        f"the bytes of the image {address!r} were asked for.",
        "a file path or a data: URI; other images are rendered when they are opened",
        "use open_image.",
    )


def _open_address(address: str, folder: str | None) -> Image.Image:
    scheme = _scheme(address)
    if scheme is None:
        return _decode(_read_file(address, folder), repr(str(Path(folder or ".") / address)))
    try:
        return _SCHEMES[scheme](address)
    except RegroundError:
        raise
    except (ValueError, KeyError) as error:
        raise ImageError(
            f"cannot render the image {address!r}: {error}.",
            f"an address its renderer knows ({scheme}:...)",
            "correct the address in the record.",
        ) from error


def _key(address: str, folder: str | None) -> str:
    scheme = _scheme(address)
    if scheme is None:
        return hashlib.sha256(_read_file(address, folder)).hexdigest()
    return hashlib.sha256(_data_bytes(address)).hexdigest() if scheme == "data" else address


def _scheme(address: str) -> str | None:
    """The scheme of an address, or None for a path. A drive letter is no scheme."""
    match = _SCHEME.match(address)
    if match is None:
        return None
    scheme = match[1].lower()
    if scheme in _SCHEMES:
        return scheme
    if "//" not in address[match.end() : match.end() + 2]:
        return None
    raise ImageError(
        f"cannot open the image {address[:80]!r}: {scheme}: addresses are not fetched.",
        "a file path, or " + ", ".join(f"{name}:..." for name in _SCHEMES),
        "download the image and give its path.",
    )


def find_file(address: str, folder: str | None) -> Path:
    """Where the file of an address is: as written or, for a path of another machine, below ``folder``.

    An absolute path that does not exist is looked up in the folder by its last parts, the most parts first:
    ``/home/other/images/1.png`` is taken to be ``FOLDER/images/1.png`` or else ``FOLDER/1.png``.

    Returns:
        The path to open; if there is no such file, the path as written.
    """
    written = Path(folder or ".") / address
    if folder is None or not (address.startswith("/") or _DRIVE.match(address)) or _is_file(written):
        return written
    parts = [part for part in re.split(r"[/\\]", _DRIVE.sub("", address)) if part]
    if ".." in parts:
        return written
    below = (Path(folder, *parts[start:]) for start in range(len(parts)))
    return next((path for path in below if _is_file(path)), written)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name no file can have; opening it says so
        return False


def _read_file(address: str, folder: str | None) -> bytes:
    path = find_file(address, folder)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"cannot open the image {str(path)!r}: there is no such file.", _READABLE, _NEXT) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"cannot open the image {str(path)!r}: {reason}.", _READABLE, _NEXT) from error


def _data_bytes(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    try:
        if not comma:
            raise ValueError("it holds no comma")
        raw = unquote_to_bytes(body)
        return base64.b64decode(raw, validate=True) if head.lower().endswith(";base64") else raw
    except (ValueError, binascii.Error) as error:
        raise ImageError(
            f"cannot read the image {uri[:40]!r}...: {error}.",
            "data:image/png;base64,... with the whole image in it",
            "write the data: URI again from the image file.",
        ) from error


def _open_data(uri: str) -> Image.Image:
    return _decode(_data_bytes(uri), repr(uri[:40]) + "...")


def _rendered_by(path: str) -> Callable[[str], Image.Image]:
    """A renderer that is imported when its first image is asked for."""

    def render(uri: str) -> Image.Image:
        module, _, function = path.partition(":")
        image: Image.Image = getattr(importlib.import_module(module), function)(uri)
        return image

    return render


_SCHEMES: dict[str, Callable[[str], Image.Image]] = {
    "data": _open_data,
    "phantom": _rendered_by("reground.phantom.render:render_uri"),
    "easyvqa": _rendered_by("reground.phantom.easyvqa:open_uri"),
}


def _decode(content: bytes, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Our own limit is lower; Pillow's warning about its higher one would only repeat it.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        f"cannot open the image {name}: {width} x {height} pixels are too many.",
                        f"at most {MAX_PIXELS:,} pixels",
                        "scale the image down before using it.",
                    )
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except _DECODE_ERRORS as error:
        what = "it is empty" if not content else str(error).rstrip(".") or type(error).__name__
        if isinstance(error, UnidentifiedImageError) and content:
            what = "it is not an image"
        if isinstance(error, Image.DecompressionBombError):
            what = "it has too many pixels"
        raise ImageError(f"cannot read the image {name}: {what}.", _READABLE, _NEXT) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        pixels = np.asarray(image, dtype=np.float64)
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("it holds pixels that are not numbers")
        scaled = (pixels - low) * (255.0 / (high - low) if high > low else 0.0)
        return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
