"""From an address to pixels: files, ``data:`` URIs and images rendered on demand.

A file or ``data:`` URI may be followed by a choice: ``#frame=3`` for one picture of a file that holds several, counted
from 1; ``#window=40/400`` for the centre and width of the window a grey DICOM image is shown through; ``&`` between
the two. A new kind of address is one line in ``_SCHEMES``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import io
import math
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reground.edits.dicom import HEAD_BYTES, is_dicom, open_dicom
from reground.edits.pixels import as_bytes, stretched
from reground.edits.quiet import warnings_kept_back
from reground.edits.records import ImageRef
from reground.errors import ImageError, RegroundError

__all__ = [
    "MAX_PIXELS",
    "find_file",
    "image_bytes",
    "image_key",
    "is_file_address",
    "open_frame",
    "open_image",
    "scaled_down",
]

#: A larger image is refused before it is decoded, unless ``REGROUND_MAX_PIXELS`` says otherwise: 64 megapixels are
#: 192 MB of RGB.
MAX_PIXELS = 64_000_000

_LIMIT_VARIABLE = "REGROUND_MAX_PIXELS"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[/\\]", re.IGNORECASE)
_CHOICE = re.compile(r"#((?:frame|window)=[^#&]*(?:&(?:frame|window)=[^#&]*)*)$")
_WINDOW = re.compile(r"(-?\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")
_NEXT = "correct the path, or restore the file."
_READABLE = "a whole image: PNG, JPEG, TIFF, WebP, GIF, BMP, JPEG 2000, AVIF, PPM or DICOM"
#: What Pillow may be asked to read; among its other formats are some that start programs, such as EPS.
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "GIF", "BMP", "DIB", "JPEG2000", "AVIF", "PPM")
_DICOM_NAMES = (".dcm", ".dicom")
#: Pillow has one limit for the whole process; ours is held against each image while that is out of force.
_PILLOW_LIMIT = threading.Lock()
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


class _Choice(NamedTuple):
    """Which picture of a file, counted from 1, and through which window (centre, width) it is seen."""

    frame: int = 1
    window: tuple[float, float] | None = None

    def __str__(self) -> str:
        """As in an address; empty for what is shown unless something is chosen."""
        parts = [f"frame={self.frame}"] if self.frame != 1 else []
        if self.window is not None:
            parts.append("window={:g}/{:g}".format(*self.window))
        return "#" + "&".join(parts) if parts else ""


def open_image(ref: ImageRef) -> list[Image.Image]:
    """The frames of an image, RGB and upright, one per address, with nothing but pixels in them.

    EXIF rotation is applied; transparency is laid on white; a single channel deeper than 8 bits is stretched
    from its own minimum and maximum to 0..255, since cutting it off would lose most scans. Of an animation or a
    file of several pages the first picture is taken, unless the address chooses one. DICOM is shown as
    ``edits.dicom`` says. Metadata stay behind.

    Raises:
        ImageError: An address is unknown, missing, unreadable, cut short, or of more pixels than ``MAX_PIXELS`` or
            the variable ``REGROUND_MAX_PIXELS`` allows.
        MissingExtraError: The image is DICOM, and ``pydicom`` is not installed.
    """
    return [_open_address(address, ref.folder) for address in ref.frames]


def open_frame(ref: ImageRef, number: int) -> Image.Image:
    """One of the frames that ``open_image`` opens, counted from 0.

    Raises:
        ImageError, MissingExtraError: See ``open_image``.
    """
    return _open_address(ref.frames[number], ref.folder)


def scaled_down(image: Image.Image, max_pixels: int | None) -> Image.Image:
    """An image of at most so many pixels, its sides in proportion; as it is if it has no more, or without a limit."""
    if max_pixels is None or math.prod(image.size) <= max_pixels:
        return image
    share = math.sqrt(max_pixels / math.prod(image.size))
    width, height = (max(1, math.floor(side * share)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def image_key(ref: ImageRef) -> str:
    """What an image is known by in caches: equal for equal content, whatever it is called.

    The SHA-256 of the bytes for files and ``data:`` URIs, with what is chosen of them; the address itself for
    rendered images; frames are joined with ``|``.

    Raises:
        ImageError: A file is missing or the address is malformed.
    """
    return "|".join(_key(address, ref.folder) for address in ref.frames)


def is_file_address(address: str) -> bool:
    """Whether an address is the path of a file, as against a ``data:`` URI or a rendered image."""
    return _scheme(address) is None


def image_bytes(address: str, folder: str | None = None) -> bytes:
    """The encoded bytes of what a file's path or a ``data:`` URI shows, to be kept elsewhere.

    Those of the file as they are; but a PNG of the pixels of DICOM, whose other elements may name a patient, and of a
    picture chosen from a file, since the choice would be lost.

    Args:
        address: The path, or the URI.
        folder: Where a relative path starts.

    Raises:
        ImageError: A file that is missing or cannot be read, a malformed URI, or a rendered image, which has no bytes.
        MissingExtraError: The image is DICOM, and ``pydicom`` is not installed.
    """
    scheme = _scheme(address)
    if scheme is None:
        path, choice = _chosen_file(address, folder)
        with _opened(path) as file:
            content, says_dicom = file.read(), path.suffix.lower() in _DICOM_NAMES
    elif scheme == "data":
        uri, choice = _split(address)
        content, says_dicom = _data_bytes(uri), _is_dicom_uri(uri)
    if scheme in (None, "data"):
        if choice == _Choice() and not says_dicom and not is_dicom(content[:HEAD_BYTES]):
            return content
        written = io.BytesIO()
        _open_address(address, folder).save(written, "PNG")
        return written.getvalue()
    raise ImageError(
        f"the bytes of the image {address!r} were asked for.",
        "a file path or a data: URI; other images are rendered when they are opened",
        "use open_image.",
    )


def _open_address(address: str, folder: str | None) -> Image.Image:
    scheme = _scheme(address)
    if scheme is None:
        path, choice = _chosen_file(address, folder)
        with _opened(path) as file:
            return _decode(file, repr(str(path)), choice, says_dicom=path.suffix.lower() in _DICOM_NAMES)
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
        path, choice = _chosen_file(address, folder)
        with _opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() + str(choice)
    if scheme == "data":
        uri, choice = _split(address)
        return hashlib.sha256(_data_bytes(uri)).hexdigest() + str(choice)
    return address


def _split(address: str) -> tuple[str, _Choice]:
    """An address without the choice at its end, and that choice.

    Raises:
        ImageError: The choice is not one.
    """
    found = _CHOICE.search(address)
    if found is None:
        return address, _Choice()
    frame, window = 1, None
    for part in found[1].split("&"):
        key, _, value = part.partition("=")
        if key == "frame" and value.isascii() and value.isdigit() and int(value) > 0:
            frame = int(value)
        elif key == "window" and (ends := _WINDOW.fullmatch(value)) and float(ends[2]) >= 1:
            window = float(ends[1]), float(ends[2])
        else:
            raise ImageError(
                f"cannot open the image {address[-80:]!r}: {part!r} chooses nothing.",
                "#frame=N, counted from 1, and #window=CENTRE/WIDTH with a width of at least 1; & between the two",
                "correct the end of the address.",
            )
    return address[: found.start()], _Choice(frame, window)


def _chosen_file(address: str, folder: str | None) -> tuple[Path, _Choice]:
    """The path to open and what is chosen of it; a file that is called so as a whole goes first."""
    as_written = _find_file(address, folder)
    if _CHOICE.search(address) is None or _is_file(as_written):
        return as_written, _Choice()
    base, choice = _split(address)
    return _find_file(base, folder), choice


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
        The path to open, without what is chosen of the file; if there is no such file, the path as written.

    Raises:
        ImageError: What the address chooses of the file cannot be chosen.
    """
    return _chosen_file(address, folder)[0]


def _find_file(address: str, folder: str | None) -> Path:
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


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("it is not a file that can be read twice")
        with path.open("rb") as file:
            yield file
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


def _open_data(address: str) -> Image.Image:
    uri, choice = _split(address)
    content = io.BytesIO(_data_bytes(uri))
    return _decode(content, repr(uri[:40]) + "...", choice, says_dicom=_is_dicom_uri(uri))


def _is_dicom_uri(uri: str) -> bool:
    return uri.lower().startswith("data:application/dicom")


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


def _decode(file: io.BufferedReader | io.BytesIO, name: str, choice: _Choice, *, says_dicom: bool) -> Image.Image:
    """The chosen picture of an open file; ``says_dicom``: its name or media type does, if its content does not."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    limit = _max_pixels()
    if is_dicom(head) or (says_dicom and head):
        return open_dicom(file, name, frame=choice.frame, window=choice.window, max_pixels=limit)
    if choice.window is not None:
        raise ImageError(
            f"cannot open the image {name} with a window: it is not DICOM.", "#frame=N", "leave #window out."
        )
    try:
        with warnings_kept_back(), _read_header(file, name, limit) as image:
            _turn_to(image, choice.frame, name)
            _check_size(image, name, limit)
            image.load()
            # A new image, since the old one carries along what else the file says.
            return Image.fromarray(np.asarray(_to_rgb(ImageOps.exif_transpose(image))))
    except _DECODE_ERRORS as error:
        what = "it is empty" if not head else str(error).rstrip(".") or type(error).__name__
        if isinstance(error, UnidentifiedImageError) and head:
            is_tiff = head.startswith((b"II*\0", b"MM\0*"))
            what = "its pixels are of a type that is not read in TIFF" if is_tiff else "it is not an image"
        raise ImageError(f"cannot read the image {name}: {what}.", _READABLE, _NEXT) from error


def _max_pixels() -> int:
    stated = os.environ.get(_LIMIT_VARIABLE)
    if stated is None:
        return MAX_PIXELS
    if stated.isascii() and stated.isdigit() and int(stated) > 0:
        return int(stated)
    raise ImageError(
        f"the variable {_LIMIT_VARIABLE} is {stated!r}.",
        f"a number of pixels, e.g. {MAX_PIXELS}",
        "correct it, or unset it.",
    )


def _read_header(file: io.BufferedReader | io.BytesIO, name: str, limit: int) -> Image.Image:
    Image.init()
    with _PILLOW_LIMIT:
        pillows_own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=[known for known in _FORMATS if known in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = pillows_own
    _check_size(image, name, limit)
    return image


def _check_size(image: Image.Image, name: str, limit: int) -> None:
    width, height = image.size
    if math.prod(image.size) > limit:
        raise ImageError(
            f"cannot open the image {name}: {width} x {height} pixels are too many.",
            f"at most {limit:,} pixels",
            f"scale the image down, or set {_LIMIT_VARIABLE} to a higher number.",
        )


def _turn_to(image: Image.Image, frame: int, name: str) -> None:
    if frame == 1:
        return
    num_frames = getattr(image, "n_frames", 1)
    if frame > num_frames:
        raise ImageError(
            f"cannot open frame {frame} of the image {name}: it has {num_frames}.",
            "#frame=1" if num_frames == 1 else f"#frame=1 to #frame={num_frames}",
            "correct the frame in the address.",
        )
    image.seek(frame - 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(as_bytes(stretched(np.asarray(image)))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
