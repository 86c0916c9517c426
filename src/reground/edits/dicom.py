"""DICOM files as pictures: one frame as a viewer would first show it, and nothing else of the file.

Only the elements that describe pixels are read. No text of the file gets into an error, a warning or a log, since any
of it may name a patient: what ``pydicom`` has to say about a file is kept back, and errors are in our own words.

Source:
    DICOM PS3.3, C.7.6.3 (pixels, photometric interpretation), C.11.1 (modality LUT), C.11.2 (VOI LUT and window),
    C.7.6.16 (functional groups of a frame).
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from reground.edits.pixels import Numbers, as_bytes, stretched
from reground.edits.quiet import warnings_kept_back
from reground.errors import ImageError, MissingExtraError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["HEAD_BYTES", "is_dicom", "open_dicom"]

#: How much of a file ``is_dicom`` looks at.
HEAD_BYTES = 132

_MAGIC = b"DICM"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: The file's own header, which names the transfer syntax, is shorter than this.
_META_BYTES = 2048
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: What describes pixels beside group 0028.
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PALETTE = "PALETTE COLOR"
_ACCEPTED = "a whole DICOM file with pixels, grey, RGB, YBR or palette"
# What pydicom, its decoders and NumPy raise on damaged input.
_DECODE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (``HEAD_BYTES`` of it) says it is DICOM."""
    return head[128:HEAD_BYTES] == _MAGIC


def open_dicom(
    file: BufferedReader | BytesIO,
    name: str,
    *,
    frame: int = 1,
    window: tuple[float, float] | None = None,
    max_pixels: int,
) -> Image.Image:
    """One frame, RGB, 8 bits a channel.

    Grey values go through the modality LUT or rescale slope and intercept, then through ``window``, else the file's
    first VOI LUT, else its first window; without any, they are stretched from the smallest to the largest that is not
    padding. MONOCHROME1 is turned over, palettes and YBR become RGB.

    Args:
        file: Open for reading; need not begin with a preamble.
        name: What errors call it.
        frame: Which frame, counted from 1.
        window: Centre and width, in the units after rescaling; grey files only.
        max_pixels: A frame with more is refused before it is decoded.

    Raises:
        ImageError: Damaged, without pixels, too large, of a kind or compression that is not read here, or without
            such a frame.
        MissingExtraError: ``pydicom`` is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtraError("pydicom", "dicom", f"opening the DICOM image {name}") from error
    _refuse_deflated(file, name)
    header: Dataset | None = None
    with _kept_back():
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=_described_by())
            _check(header, name, frame=frame, max_pixels=max_pixels)
            file.seek(0)
            dataset = pydicom.dcmread(file, force=True, specific_tags=[*_described_by(), *_PIXELS])
            if not any(keyword in dataset for keyword in _PIXELS):
                _refuse(name, "it holds no pixels")
            shown = _shown(dataset, frame - 1, window, name)
        except _DECODE_ERRORS as error:
            _refuse_after(error, header, name)
    return Image.fromarray(shown).convert("RGB")


def _described_by() -> list[int | str]:
    from pydicom.datadict import DicomDictionary

    group: list[int | str] = [tag for tag in DicomDictionary if tag >> 16 == 0x0028]
    return [*group, *_GROUPS]


@contextmanager
def _kept_back() -> Iterator[None]:
    """Silence ``pydicom``: its warnings and its log quote values of the file."""
    log = logging.getLogger("pydicom")
    was_disabled = log.disabled
    log.disabled = True
    try:
        with warnings_kept_back(), np.errstate(all="ignore"):
            yield
    finally:
        log.disabled = was_disabled


def _refuse_deflated(file: BufferedReader | BytesIO, name: str) -> None:
    """A deflated data set would be inflated whole before its size can be seen."""
    head = file.read(_META_BYTES)
    file.seek(0)
    if is_dicom(head) and _DEFLATED in head:
        _refuse(name, "its data set is deflated", "write it without compression, e.g. with `dcmconv +te IN OUT`.")


def _check(header: Dataset, name: str, *, frame: int, max_pixels: int) -> None:
    if "Rows" not in header or "Columns" not in header:
        _refuse(name, "it holds no pixels")
    width, height = int(header.Columns), int(header.Rows)
    if width * height > max_pixels:
        raise ImageError(
            f"cannot open the image {name}: {width} x {height} pixels are too many.",
            f"at most {max_pixels:,} pixels",
            "scale the image down, or set REGROUND_MAX_PIXELS to a higher number.",
        )
    num_frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frame <= num_frames:
        raise ImageError(
            f"cannot open frame {frame} of the image {name}: it has {num_frames}.",
            f"#frame=1 to #frame={num_frames}",
            "correct the frame in the address.",
        )


def _shown(dataset: Dataset, index: int, window: tuple[float, float] | None, name: str) -> npt.NDArray[np.uint8]:
    """What is on the screen (rows, columns and, of colour, channels); consumes ``dataset``."""
    from pydicom.pixels import apply_color_lut, pixel_array

    kind = str(dataset.get("PhotometricInterpretation", "")).strip()
    if kind not in (*_GREY, *_COLOUR, _PALETTE):
        _refuse(name, "its photometric interpretation is not read here")
    if window is not None and kind not in _GREY:
        raise ImageError(
            f"cannot open the image {name} with a window: it is in colour.", "a grey image", "leave #window out."
        )
    _name_transfer_syntax(dataset)
    stored: Numbers = pixel_array(dataset, index=index)
    if kind in _GREY:
        return as_bytes(_grey(dataset, index, stored, window))
    if kind == _PALETTE:
        stored = apply_color_lut(stored, dataset)[..., :3]
        return as_bytes(stored.astype(np.float64) / np.iinfo(stored.dtype).max)
    if stored.ndim != 3:
        _refuse(name, "its pixels have no colours")
    return as_bytes(stored.astype(np.float64) / (2 ** int(dataset.BitsStored) - 1))


def _name_transfer_syntax(dataset: Dataset) -> None:
    """Files without a header of their own do not say how they are encoded; reading them has shown it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return
    is_implicit, is_little = dataset.original_encoding
    dataset.file_meta = FileMetaDataset()
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit


def _grey(dataset: Dataset, index: int, stored: Numbers, window: tuple[float, float] | None) -> npt.NDArray[np.float64]:
    """Shares of full brightness."""
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    _take_frame_settings(dataset, index)
    is_padding = _padding(dataset, stored)
    values: Numbers = apply_modality_lut(stored, dataset)
    if window is not None:
        dataset.WindowCenter, dataset.WindowWidth = window
        dataset.VOILUTFunction = "LINEAR"
    lut = None if window is not None else _lut_top(dataset)
    if lut is not None:
        shares = apply_voi(np.rint(values).astype(np.int64), dataset) / lut
    elif _has_window(dataset):
        # What the window makes of the darkest and the brightest there could be are the ends of its scale.
        low, high = apply_windowing(np.array([-np.inf, np.inf]), dataset)
        shares = (apply_windowing(values, dataset) - low) / (high - low)
    else:
        shares = stretched(values, ~is_padding)
    if not np.isfinite(shares).all():
        raise ValueError("it holds pixels that are not numbers")
    brightness: npt.NDArray[np.float64] = (
        1 - shares if dataset.PhotometricInterpretation.strip() == "MONOCHROME1" else shares
    )
    return brightness


def _take_frame_settings(dataset: Dataset, index: int) -> None:
    """Put what an enhanced multi-frame file says of all frames, and of this one, where a simple file says it."""
    shared, per_frame = (dataset.get(keyword) or [] for keyword in _GROUPS)
    for group in [*shared[:1], *per_frame[index : index + 1]]:
        for macro in _MACROS:
            for item in (group.get(macro) or [])[:1]:
                dataset.update(item)


def _padding(dataset: Dataset, stored: Numbers) -> npt.NDArray[np.bool_]:
    """True where a pixel only fills the rectangle."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    padded: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padded


def _lut_top(dataset: Dataset) -> int | None:
    """The brightest level of the VOI LUT, or None if there is none."""
    for item in (dataset.get("VOILUTSequence") or [])[:1]:
        if item.get("LUTDescriptor") is not None and item.get("LUTData") is not None:
            return int(2 ** int(item.LUTDescriptor[2]) - 1)
    return None


def _has_window(dataset: Dataset) -> bool:
    """Whether there is a window that can be applied; some writers leave one of width 0."""
    centre, width = (_first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    least = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-9, "SIGMOID": 1e-9}.get(
        str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    )
    return centre is not None and width is not None and least is not None and width >= least


def _first(value: Any) -> float | None:
    """The first of one or several numbers, if there is any."""
    from pydicom.multival import MultiValue

    first = value[0] if isinstance(value, MultiValue) and len(value) else value
    return float(first) if isinstance(first, (int, float)) else None


def _refuse_after(error: Exception, header: Dataset | None, name: str) -> NoReturn:
    """Say in our own words what went wrong; the error's own may quote the file."""
    said = str(error)
    if isinstance(error, NotImplementedError) or "missing dependencies" in said or "does not support" in said:
        _refuse(
            name,
            f"it is compressed as {_syntax_name(header)}, which no installed decoder reads",
            "install one (`pip install pyjpegls` for JPEG-LS, `pip install python-gdcm` for most), or decompress the "
            "file, e.g. with `gdcmconv --raw IN OUT`.",
        )
    if isinstance(error, Image.DecompressionBombError):
        _refuse(name, "its compressed pixels claim to be far more than the file says")
    _refuse(name, "it is cut short or damaged")


def _syntax_name(header: Dataset | None) -> str:
    """The transfer syntax by the standard's name for it; a private one is not quoted."""
    uid = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    return str(uid.name) if uid is not None and not uid.is_private and uid.name != str(uid) else "something unknown"


def _refuse(name: str, problem: str, next_step: str = "correct the path, or export the image again.") -> NoReturn:
    raise ImageError(f"cannot read the image {name}: {problem}.", _ACCEPTED, next_step) from None
