"""Tests of PNG and JPEG files."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io import Image, read_image, write_image
from tests.io.examples import numbers


@pytest.mark.parametrize(
    ("axes", "dtype"), [("YX", "?"), ("YX", "u1"), ("YX", "u2"), ("YXS", "u1")]
)
def test_png_keeps_pixels(tmp_path: Path, axes: str, dtype: str) -> None:
    write_image(tmp_path / "image.png", Image(numbers(axes, dtype), axes))
    image = read_image(tmp_path / "image.png")
    assert (image.axes, image.pixel_size_um) == (axes, None)
    assert image.data.dtype == np.dtype(dtype)
    assert np.array_equal(image.pixels, numbers(axes, dtype))


@pytest.mark.parametrize(("mode", "axes"), [("L", "YX"), ("RGB", "YXS")])
def test_jpeg_is_read_with_small_errors(tmp_path: Path, mode: str, axes: str) -> None:
    ramp = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    picture = PIL.Image.fromarray(ramp).convert(mode)
    for name in ("image.jpg", "image.JPEG"):
        picture.save(tmp_path / name, format="JPEG", quality=95)
        image = read_image(tmp_path / name)
        assert (image.axes, image.data.dtype) == (axes, np.dtype("u1"))
        np.testing.assert_allclose(image.pixels, np.asarray(picture), atol=3)


@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_a_picture_of_very_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("napari_coordgate.io.png_jpeg._MAX_PIXELS", 119)
    PIL.Image.new("L", (12, 10)).save(tmp_path / name)
    with pytest.raises(ImageError, match=rf"{name} has more pixels"):
        read_image(tmp_path / name)


def test_pixels_that_png_cannot_hold_are_an_error_that_names_alternatives(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"choose \.tif\."):
        write_image(tmp_path / "image.png", Image(numbers("YX", "f4"), "YX"))


def test_big_endian_pixels_are_written_correctly(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png", Image(numbers("YX", ">u2"), "YX"))
    assert np.array_equal(read_image(tmp_path / "image.png").pixels, numbers("YX"))


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    for mode, axes in {"RGBA": "YXS", "LA": "YX"}.items():
        PIL.Image.new(mode, (7, 6), "teal").save(tmp_path / f"{mode}.png")
        assert read_image(tmp_path / f"{mode}.png").axes == axes
        PIL.Image.new(mode, (7, 6)).save(tmp_path / f"{mode}-clear.png")
        assert read_image(tmp_path / f"{mode}-clear.png").data.shape == (6, 7, len(mode))


def test_a_palette_is_read_as_its_colors(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(numbers("YXS", "u1") // 128 * 128)
    picture.quantize(8).save(tmp_path / "palette.png")
    image = read_image(tmp_path / "palette.png")
    assert np.array_equal(image.pixels, np.asarray(picture))


def test_16_bit_colors_of_png_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "colors.png"
    PIL.Image.new("RGB", (7, 6)).save(path)
    contents = bytearray(path.read_bytes())
    contents[24] = 16  # bits of a sample
    path.write_bytes(contents)
    with pytest.raises(ImageError, match=r"16-bit colors|cannot be read"):
        read_image(path)


def test_cmyk_is_refused(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (7, 6)).save(tmp_path / "inks.jpg")
    with pytest.raises(ImageError, match="CMYK pixels; save it as gray or RGB"):
        read_image(tmp_path / "inks.jpg")


def test_a_png_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    PIL.Image.new("L", (7, 6)).save(path)
    contents = bytearray(path.read_bytes())
    contents[16:24] = 2 * (1 << 20).to_bytes(4, "big")
    path.write_bytes(contents)
    with pytest.raises(ImageError, match=r"bomb\.png (claims more pixels|cannot be read)"):
        read_image(path)
