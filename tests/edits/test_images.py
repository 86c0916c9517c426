"""Images by address: what opens, and what is refused in words."""

from __future__ import annotations

import base64
import io
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


def test_truncated_image_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for suffix in ("png", "jpg"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "JPEG" if suffix == "jpg" else "PNG")
        whole = buffer.getvalue()
        for share in (0.0, 0.01, 0.3, 0.7):
            path = tmp_path / f"cut.{suffix}"
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(ImageError) as caught:
                open_image(ref(str(path)))
            assert str(path) in str(caught.value)


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
    with pytest.raises(ImageError, match="too many pixels"):
        open_image(ref(data_uri(bomb)))


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
