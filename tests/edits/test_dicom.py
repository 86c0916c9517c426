"""DICOM as pictures: real sample files, and small ones made here whose every level is known."""

from __future__ import annotations

import base64
import io
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, config, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from reground.edits.images import image_bytes, image_key, open_image
from reground.edits.records import ImageRef
from reground.errors import ImageError, MissingExtraError

SENTINEL = "ZZSENTINELZZ"


def shown(address: object) -> np.ndarray:
    """Pixels of one picture, rows x columns x channels."""
    (image,) = open_image(ImageRef(frames=(str(address),)))
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


def sample(name: str) -> str:
    """A sample that ships inside pydicom; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return path


def make(pixels: np.ndarray, **elements: Any) -> Dataset:
    """A data set of 16-bit grey (rows x columns), or of several such frames."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write(path: Path, dataset: Dataset) -> Path:
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.fixture
def values() -> np.ndarray:
    return np.array([[-1000, -160], [40, 240], [3000, 40]])


def test_a_window_is_applied_after_rescaling(tmp_path: Path, values: np.ndarray) -> None:
    """By the standard's formula: 40/400 runs from -160 to 239, and 40 is a little above the middle."""
    dataset = make(values + 1024, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    assert shown(write(tmp_path / "a.dcm", dataset))[..., 0].tolist() == [[0, 0], [128, 255], [255, 128]]


def test_the_first_of_several_windows_is_taken_and_another_can_be_chosen(tmp_path: Path, values: np.ndarray) -> None:
    path = write(tmp_path / "a.dcm", make(values, WindowCenter=[40, 0], WindowWidth=[400, 4000]))
    assert shown(path)[0, 1, 0] == 0
    assert shown(f"{path}#window=0/4000")[0, 1, 0] == pytest.approx(255 * (0.5 - 159.5 / 3999), abs=1)
    assert image_key(ImageRef(frames=(str(path),))) != image_key(ImageRef(frames=(f"{path}#window=0/4000",)))


@pytest.mark.parametrize(("function", "middle"), [("LINEAR_EXACT", 127.5), ("SIGMOID", 127.5), ("LINEAR", 128.1)])
def test_window_functions(tmp_path: Path, values: np.ndarray, function: str, middle: float) -> None:
    dataset = make(values, WindowCenter=40, WindowWidth=200, VOILUTFunction=function)
    assert shown(write(tmp_path / "a.dcm", dataset))[1, 0, 0] == pytest.approx(middle, abs=0.6)


@pytest.mark.parametrize("elements", [{"WindowWidth": 0}, {"WindowWidth": None}, {"VOILUTFunction": "HOMEMADE"}])
def test_a_window_that_is_none_is_left_aside(tmp_path: Path, values: np.ndarray, elements: dict[str, Any]) -> None:
    dataset = make(values, **{"WindowCenter": 40, "WindowWidth": 400, **elements})
    assert shown(write(tmp_path / "a.dcm", dataset))[..., 0].tolist() == [[0, 54], [66, 79], [255, 66]]


@pytest.mark.parametrize("kind", ["US", "OW"])
def test_a_lut_goes_before_a_window(tmp_path: Path, kind: str) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 10, 16]
    levels = [0, 65535, 13107, 26214]
    item.add_new("LUTData", kind, levels if kind == "US" else np.array(levels, "<u2").tobytes())
    dataset = make(np.array([[9, 10], [11, 12], [13, 99]]), WindowCenter=40, WindowWidth=400)
    dataset.VOILUTSequence = Sequence([item])
    assert shown(write(tmp_path / "a.dcm", dataset))[..., 0].tolist() == [[0, 0], [255, 51], [102, 102]]


def test_without_a_window_padding_does_not_set_the_ends(tmp_path: Path) -> None:
    pixels = np.array([[-2000, -1990], [0, 100], [50, 25]])
    dataset = make(pixels, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    assert shown(write(tmp_path / "a.dcm", dataset))[..., 0].tolist() == [[0, 0], [0, 255], [128, 64]]


def test_monochrome1_is_turned_over(tmp_path: Path, values: np.ndarray) -> None:
    usual = shown(write(tmp_path / "a.dcm", make(values, WindowCenter=40, WindowWidth=400)))
    turned = make(values, WindowCenter=40, WindowWidth=400, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(shown(write(tmp_path / "b.dcm", turned)) + usual.astype(int) - 255).max() <= 1


def test_a_frame_is_chosen_and_has_settings_of_its_own(tmp_path: Path) -> None:
    """As in enhanced files: the shared groups say one thing, those of the second frame another."""
    dataset = make(np.array([[[0, 100]], [[0, 100]]]))
    dataset.SharedFunctionalGroupsSequence = Sequence([_group(centre=50, width=100)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), _group(centre=100, width=400)])
    path = write(tmp_path / "a.dcm", dataset)
    assert shown(path)[..., 0].tolist() == [[0, 255]]
    assert shown(f"{path}#frame=1")[..., 0].tolist() == [[0, 255]]
    assert shown(f"{path}#frame=2")[..., 0].tolist() == [[64, 128]]
    assert image_key(ImageRef(frames=(f"{path}#frame=1",))) == image_key(ImageRef(frames=(str(path),)))


def _group(*, centre: float, width: float) -> Dataset:
    window = Dataset()
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, width, "LINEAR_EXACT"
    group = Dataset()
    group.FrameVOILUTSequence = Sequence([window])
    return group


@pytest.mark.parametrize(
    ("name", "size", "corner"),
    [
        ("CT_small.dcm", (128, 128), None),
        ("MR_small_RLE.dcm", (64, 64), None),
        ("MR_small_bigendian.dcm", (64, 64), None),
        ("MR_small_jp2klossless.dcm", (64, 64), None),
        ("examples_overlay.dcm", (300, 484), None),
        ("examples_palette.dcm", (350, 800), None),
        ("examples_rgb_color.dcm", (240, 320), None),
        ("examples_ybr_color.dcm", (240, 320), None),
        ("SC_rgb_rle_16bit.dcm", (100, 100), (255, 0, 0)),
        ("SC_rgb_rle_32bit.dcm", (100, 100), (255, 0, 0)),
        ("SC_ybr_full_422_uncompressed.dcm", (100, 100), (254, 0, 0)),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100), (254, 0, 0)),
        ("rtdose.dcm", (10, 10), None),
    ],
)
def test_real_files_open(name: str, size: tuple[int, int], corner: tuple[int, int, int] | None) -> None:
    pixels = shown(sample(name))
    assert pixels.shape == (*size, 3)
    assert len(np.unique(pixels)) > 2
    if corner is not None:
        assert tuple(pixels[2, 2]) == pytest.approx(corner, abs=2)


def test_one_picture_however_it_is_encoded() -> None:
    plain = shown(sample("MR_small.dcm"))
    for other in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"):
        assert np.array_equal(shown(sample(other)), plain), other


def test_frames_of_a_real_loop_differ() -> None:
    path = sample("examples_ybr_color.dcm")
    first, last = shown(path), shown(f"{path}#frame=30")
    assert first.shape == last.shape
    assert not np.array_equal(first, last)
    with pytest.raises(ImageError, match="frame 31") as caught:
        shown(f"{path}#frame=31")
    assert caught.value.accepted == "#frame=1 to #frame=30"


def test_a_data_uri_with_a_frame_is_the_file() -> None:
    path = sample("SC_rgb_rle_2frame.dcm")
    uri = "data:application/dicom;base64," + base64.b64encode(Path(path).read_bytes()).decode()
    assert np.array_equal(shown(f"{uri}#frame=2"), shown(f"{path}#frame=2"))
    assert image_key(ImageRef(frames=(f"{uri}#frame=2",))) == image_key(ImageRef(frames=(f"{path}#frame=2",)))


def test_a_file_without_preamble_opens_by_its_name(tmp_path: Path) -> None:
    dataset = dcmread(sample("MR_small_implicit.dcm"))
    bare = tmp_path / "old.dcm"
    with bare.open("wb") as file:
        del dataset.file_meta
        dcmwrite(file, dataset, implicit_vr=True, little_endian=True)
    assert np.array_equal(shown(bare), shown(sample("MR_small.dcm")))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("MR_truncated.dcm", "cut short or damaged"),
        ("badVR.dcm", "cut short or damaged"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "cut short or damaged"),
        ("JPGExtended.dcm", "compressed as JPEG Extended"),
        ("test-SR.dcm", "holds no pixels"),
        ("rtplan.dcm", "holds no pixels"),
        ("image_dfl.dcm", "deflated"),
    ],
)
def test_real_files_that_cannot_be_shown_are_refused_in_words(name: str, problem: str) -> None:
    with pytest.raises(ImageError, match=problem) as caught:
        shown(sample(name))
    assert name in caught.value.tried
    assert caught.value.__cause__ is None


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = Path(sample("CT_small.dcm")).read_bytes()
    path = tmp_path / "cut.dcm"
    for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError):
            shown(path)


def test_a_file_with_random_bytes_in_it_opens_or_is_refused(tmp_path: Path) -> None:
    whole = bytearray(Path(sample("MR_small.dcm")).read_bytes()[:2000] + bytes(8192))
    random = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in random.integers(132, 2000, 8):
            damaged[place] = int(random.integers(256))
        (tmp_path / "a.dcm").write_bytes(damaged)
        try:
            shown(tmp_path / "a.dcm")
        except ImageError as error:
            assert "a.dcm" in error.tried


def test_a_huge_frame_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dcm", make(np.zeros((4, 4)), Rows=60_000, Columns=60_000))
    with pytest.raises(ImageError, match="too many") as caught:
        shown(path)
    assert "REGROUND_MAX_PIXELS" in caught.value.next_step
    monkeypatch.setenv("REGROUND_MAX_PIXELS", "100")
    with pytest.raises(ImageError, match="too many"):
        shown(sample("MR_small.dcm"))


def test_a_window_on_colour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="in colour"):
        shown(sample("examples_rgb_color.dcm") + "#window=40/400")
    with pytest.raises(ImageError, match="not read here"):
        shown(write(tmp_path / "a.dcm", make(np.zeros((2, 2)), PhotometricInterpretation="HSV")))


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"reground\[dicom\]"):
        shown(sample("MR_small.dcm"))


def _with_sentinels(dataset: Dataset) -> Dataset:
    """Every textual element of the dictionary that does not describe pixels, filled with the sentinel."""
    texts = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "CS", "DA", "TM", "DT", "AS", "UR"}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in texts and keyword and tag >> 16 not in (0x0000, 0x0002, 0x0028, 0xFFFE):
            dataset.add_new(tag, vr, SENTINEL)
    private = dataset.private_block(0x0011, SENTINEL, create=True)
    private.add_new(0x01, "LO", SENTINEL)
    dataset.preamble = SENTINEL.encode().ljust(128, b"\0")
    return dataset


@pytest.fixture
def speaking_files(tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A sound file full of sentinels, and such files damaged where their pixels are described."""
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    window = {"RescaleSlope": 1, "RescaleIntercept": 0, "WindowCenter": 40, "WindowWidth": 400}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _with_sentinels(make(values, VOILUTFunction="LINEAR", NumberOfFrames=1, **window))
        content = write(tmp_path / "sound.dcm", dataset).read_bytes()
    assert content.count(SENTINEL.encode()) > 500
    (tmp_path / "short.dcm").write_bytes(content[:-5])
    for keyword in ("PhotometricInterpretation", "VOILUTFunction", "NumberOfFrames", *window):
        element = dataset[keyword]
        (tmp_path / f"{keyword}.dcm").write_bytes(_quoting(content, element.tag, element.VR))
    return sorted(tmp_path.iterdir())


def test_no_text_of_a_file_gets_out(speaking_files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """Not with the picture, not in an error, not in a warning, not in a log, however damaged the file is."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in speaking_files:
            try:
                (image,) = open_image(ImageRef(frames=(str(path),)))
            except ImageError as error:
                said.append(str(error))
                assert error.__cause__ is None and error.__suppress_context__
                continue
            written = io.BytesIO()
            image.save(written, "PNG")
            assert SENTINEL.encode() not in written.getvalue()
            assert image.info == {}
    assert len(said) >= 4
    assert SENTINEL not in "".join(said) + caplog.text + "".join(str(warning.message) for warning in caught)


def _quoting(content: bytes, tag: int, vr: str) -> bytes:
    """A file's bytes with the sentinel as the value of one element, in explicit little endian."""
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    start = content.index(head)
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    return (
        content[: start + 6] + len(SENTINEL).to_bytes(2, "little") + SENTINEL.encode() + content[start + 8 + length :]
    )


def test_what_is_kept_elsewhere_of_a_file_is_the_picture_it_shows(speaking_files: list[Path], tmp_path: Path) -> None:
    """A library copies images; a copy of the whole file would carry every name in it."""
    (sound,) = [path for path in speaking_files if path.name == "sound.dcm"]
    content = image_bytes(str(sound))
    assert SENTINEL.encode() not in content
    (tmp_path / "kept.png").write_bytes(content)
    assert np.array_equal(shown(tmp_path / "kept.png"), shown(sound))
    loop = sample("examples_ybr_color.dcm")
    uri = "data:application/dicom;base64," + base64.b64encode(Path(loop).read_bytes()).decode()
    (tmp_path / "frame.png").write_bytes(image_bytes(f"{uri}#frame=30"))
    assert np.array_equal(shown(tmp_path / "frame.png"), shown(f"{loop}#frame=30"))
    assert image_bytes(loop) != image_bytes(f"{loop}#frame=30")
    (tmp_path / "kept.png").write_bytes(b"any bytes")
    assert image_bytes(str(tmp_path / "kept.png")) == b"any bytes"
