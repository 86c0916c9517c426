"""Images by address: what opens, and what is refused in words."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reground.edits import images
from reground.edits.images import image_key, is_file_address, open_image
from reground.edits.records import ImageRef
from reground.errors import ImageError


def ref(*frames: str) -> ImageRef:
    return ImageRef(frames=frames)


def write_png(path: Path, colour: tuple[int, int, int] = (200, 10, 10), size: tuple[int, int] = (8, 6)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_frames_come_in_order_as_rgb(tmp_path: Path) -> None:
    first = write_png(tmp_path / "a.png", (255, 0, 0))
    second = write_png(tmp_path / "b.png", (0, 255, 0))
    opened = open_image(ref(str(first), str(second)))
    assert [(image.mode, image.size, image.getpixel((0, 0))) for image in opened] == [
        ("RGB", (8, 6), (255, 0, 0)),
        ("RGB", (8, 6), (0, 255, 0)),
    ]


def test_relative_paths_start_in_the_folder_of_the_reference(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png")
    assert open_image(ref("a.png").inside(str(tmp_path)))[0].size == (8, 6)
    with pytest.raises(ImageError, match="no such file"):
        open_image(ref("a.png"))


def test_data_uri_and_file_of_the_same_bytes_share_a_key(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png")
    uri = data_uri(path.read_bytes())
    assert open_image(ref(uri))[0].getpixel((0, 0)) == (200, 10, 10)
    assert image_key(ref(uri)) == image_key(ref(str(path)))
    other = write_png(tmp_path / "b.png", (1, 2, 3))
    assert image_key(ref(str(other))) != image_key(ref(str(path)))
    assert image_key(ref(str(path), str(other))) != image_key(ref(str(other), str(path)))


def test_key_of_a_rendered_image_is_its_address() -> None:
    assert image_key(ref("phantom:blank")) == "phantom:blank"


def test_rendered_images_open() -> None:
    assert open_image(ref("phantom:blank"))[0].mode == "RGB"
    assert open_image(ref("easyvqa:test/0"))[0].size == (64, 64)


@pytest.mark.parametrize("address", ["phantom:nothing?x=1", "easyvqa:test/99999999"])
def test_unknown_rendered_images_are_refused(address: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(ref(address))
    assert address in caught.value.tried


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4), "black")
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(ref(str(tmp_path / "turned.jpg")))[0].size == (4, 8)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(ref(str(tmp_path / "clear.png")))[0].getpixel((0, 0)) == (255, 255, 255)


def test_deep_gray_is_stretched_not_cut_off(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 4000, 16, dtype=np.uint16).reshape(4, 4)
    Image.fromarray(ramp).save(tmp_path / "scan.png")
    pixels = np.asarray(open_image(ref(str(tmp_path / "scan.png")))[0])
    assert (pixels.min(), pixels.max(), len(np.unique(pixels))) == (0, 255, 16)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif", "bmp", "jp2"])
def test_truncated_image_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    assert open_image(ref(str(path)))[0].size == (32, 32)
    for share in (0.0, 0.01, 0.3, 0.7):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError) as caught:
            open_image(ref(str(path)))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_pictures_the_first_is_taken_unless_one_is_chosen(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"many.{suffix}"
    pictures = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if suffix == "webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **lossless)
    assert open_image(ref(str(path)))[0].getpixel((0, 0)) == (255, 0, 0)
    assert open_image(ref(f"{path}#frame=3"))[0].getpixel((0, 0)) == (0, 0, 255)
    assert open_image(ref(f"{data_uri(path.read_bytes())}#frame=2"))[0].getpixel((0, 0)) == (0, 255, 0)
    assert image_key(ref(f"{path}#frame=1")) == image_key(ref(str(path)))
    assert image_key(ref(f"{path}#frame=2")) != image_key(ref(str(path)))
    with pytest.raises(ImageError, match="frame 4") as caught:
        open_image(ref(f"{path}#frame=4"))
    assert caught.value.accepted == "#frame=1 to #frame=3"


@pytest.mark.parametrize(
    "choice", ["frame=0", "frame=x", "frame=-1", "frame=", "frame=²", "window=40", "window=40/0", "frame=1&window=a/b"]
)
def test_a_choice_that_is_none_is_refused(tmp_path: Path, choice: str) -> None:
    path = write_png(tmp_path / "a.png")
    with pytest.raises(ImageError, match="chooses nothing"):
        open_image(ref(f"{path}#{choice}"))
    with pytest.raises(ImageError, match="chooses nothing"):
        image_key(ref(f"{path}#{choice}"))


def test_a_window_is_for_dicom(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png")
    with pytest.raises(ImageError, match="not DICOM"):
        open_image(ref(f"{path}#window=40/400"))
    with pytest.raises(ImageError, match="it has 1"):
        open_image(ref(f"{path}#frame=2"))


def test_a_file_that_is_called_like_a_choice_is_opened(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", (1, 2, 3))
    named = write_png(tmp_path / "a.png#frame=2.png", (9, 9, 9)).rename(tmp_path / "a.png#frame=2")
    assert open_image(ref(str(named)))[0].getpixel((0, 0)) == (9, 9, 9)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "YCbCr" else "tif"
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(np.array([[100, 20_000], [30_000, 10_000]], dtype=kind))
    else:
        image = Image.new("RGB", (2, 2), (250, 250, 250)).convert(mode)
        image.putpixel((0, 0), image.convert("RGB").convert(mode).getpixel((1, 1)))
    image.save(tmp_path / f"a.{suffix}")
    (opened,) = open_image(ref(str(tmp_path / f"a.{suffix}")))
    assert (opened.mode, opened.size) == ("RGB", (2, 2))
    if mode not in ("I;16", "I", "F"):
        assert min(opened.getpixel((1, 1))) >= 245  # type: ignore[type-var]


def test_only_pixels_come_along(tmp_path: Path) -> None:
    """A camera writes where it was, and an editor who sat at it."""
    image = Image.new("RGB", (4, 4), "red")
    exif = image.getexif()
    exif[0x013B] = "ZZSENTINELZZ"
    image.save(tmp_path / "a.jpg", exif=exif, comment=b"ZZSENTINELZZ")
    (opened,) = open_image(ref(str(tmp_path / "a.jpg")))
    written = io.BytesIO()
    opened.save(written, "PNG")
    assert opened.info == {}
    assert not dict(opened.getexif())
    assert b"ZZSENTINELZZ" not in written.getvalue()


def test_what_starts_programs_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="not an image"):
        open_image(ref(str(tmp_path / "a.eps")))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a file"):
        open_image(ref(str(tmp_path / "pipe")))


def test_the_limit_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = ref(str(write_png(tmp_path / "a.png")))
    monkeypatch.setenv("REGROUND_MAX_PIXELS", "47")
    with pytest.raises(ImageError, match="8 x 6 pixels are too many"):
        open_image(path)
    monkeypatch.setenv("REGROUND_MAX_PIXELS", "48")
    assert open_image(path)[0].size == (8, 6)
    monkeypatch.setenv("REGROUND_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="REGROUND_MAX_PIXELS is 'many'"):
        open_image(path)


def test_a_limit_above_pillows_own_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert open_image(ref(str(write_png(tmp_path / "a.png"))))[0].size == (8, 6)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("retina.jpg", (1411, 1411)),
        ("ihc.png", (512, 512)),
        ("cell.png", (550, 660)),
        ("multipage.tif", (10, 15)),
        ("no_time_for_that_tiny.gif", (14, 25)),
        ("microaneurysms.png", (102, 102)),
    ],
)
def test_real_pictures_open(name: str, size: tuple[int, int]) -> None:
    assert open_image(ref(real_picture(name)))[0].size == size


def test_a_tiff_of_a_type_that_is_not_read_is_said_to_be_one() -> None:
    """Three planes of 64-bit numbers."""
    with pytest.raises(ImageError, match="not read in TIFF"):
        open_image(ref(real_picture("multipage_rgb.tif")))


def real_picture(name: str) -> str:
    skimage = pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'reground[dev]'")
    return str(Path(skimage.__file__).parent / "data" / name)


def test_other_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ImageError, match="not an image"):
        open_image(ref(str(tmp_path / "notes.txt")))
    with pytest.raises(ImageError, match="directory"):
        open_image(ref(str(tmp_path)))


def test_huge_image_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 40)
    with pytest.raises(ImageError, match="too many"):
        open_image(ref(str(write_png(tmp_path / "a.png"))))


def test_decompression_bomb_is_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    with pytest.raises(ImageError, match="200000 x 200000 pixels are too many") as caught:
        open_image(ref(data_uri(bomb)))
    assert "REGROUND_MAX_PIXELS" in caught.value.next_step


def test_a_defect_names_the_whole_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(ImageError, match="not an image") as caught:
        open_image(ref("a.png").inside(str(tmp_path)))
    assert str(tmp_path) in caught.value.tried


@pytest.mark.parametrize("uri", ["data:image/png;base64,@@@", "data:nothing", "data:image/png;base64,AAAA"])
def test_damaged_data_uri_is_refused(uri: str) -> None:
    with pytest.raises(ImageError):
        open_image(ref(uri))


def test_remote_addresses_are_not_fetched() -> None:
    with pytest.raises(ImageError, match="not fetched"):
        open_image(ref("https://example.org/a.png"))


def test_a_colon_in_a_file_name_is_no_scheme(tmp_path: Path) -> None:
    write_png(tmp_path / "scan:1.png")
    assert is_file_address("scan:1.png")
    assert open_image(ref("scan:1.png").inside(str(tmp_path)))[0].size == (8, 6)
