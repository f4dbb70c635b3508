"""Tests that what is written is read back."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st

from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.metadata import ImageMetadata
from tests.io.examples import DTYPES, PIXEL_SIZE_UM, numbers, rearranged

ALL_AXES = ["".join(extra) + "YX" for n in range(4) for extra in itertools.permutations("TCZ", n)]
OME_TYPES = ["?", "u1", "u2", "u4", "i2", "i4", "f4", "f8", ">u2", ">f4"]
NAMES = ("DAPI", "GFP, slow", "µ 0:2")
SIZES = st.floats(1e-3, 1e3)
FORMATS = {".tif": DTYPES, ".TIFF": DTYPES, ".ome.tif": OME_TYPES, ".ome.zarr": DTYPES}


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str, str, ImageMetadata]:
    """Suffix, axes, type and metadata that the format of the suffix can hold."""
    suffix = draw(st.sampled_from(list(FORMATS)))
    dtype = draw(st.sampled_from(FORMATS[suffix]))
    colors = [] if dtype == "?" or suffix == ".ome.zarr" else ["YXS", "TZYXS"]
    axes = draw(st.sampled_from([*ALL_AXES, *colors]))
    metadata = ImageMetadata(
        draw(st.none() | st.tuples(SIZES, SIZES)),
        draw(st.none() | SIZES) if "Z" in axes else None,
        draw(st.none() | SIZES) if "T" in axes else None,
        draw(st.sampled_from([(), NAMES])) if "C" in axes else (),
    )
    return suffix, axes, dtype, metadata


@settings(max_examples=150, deadline=None)
@given(files())
def test_pixels_axes_sizes_and_channel_names_are_read_back(
    file: tuple[str, str, str, ImageMetadata],
) -> None:
    suffix, axes, dtype, metadata = file
    pixels = numbers(axes, dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        write_image(path, Image(pixels, axes, **metadata._asdict()))
        image = read_image(path)
        np.testing.assert_array_equal(rearranged(image, axes), pixels)
        assert image.data.dtype.newbyteorder("=") == pixels.dtype.newbyteorder("=")
        assert image.path == path
        pixel_size_um = image.pixel_size_um and pytest.approx(image.pixel_size_um, rel=1e-4)
        kept = image.metadata._replace(
            pixel_size_um=metadata.pixel_size_um, original=metadata.original
        )
        assert kept == metadata
        assert pixel_size_um == metadata.pixel_size_um


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_the_name_of_a_single_channel_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, Image(numbers("ZYX"), "ZYX", channel_names=("DAPI",)))
    assert read_image(path).channel_names == ("DAPI",)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_tiff_of_a_common_type_opens_in_imagej(tmp_path: Path, dtype: str) -> None:
    stack = Image(
        numbers("TCYX", dtype), "TCYX", PIXEL_SIZE_UM, time_step_s=2.5, channel_names=NAMES
    )
    write_image(tmp_path / "image.tif", stack)
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "um"
        assert (tiff.imagej_metadata["frames"], tiff.imagej_metadata["channels"]) == (2, 3)
        assert tiff.imagej_metadata["finterval"] == 2.5
        assert tuple(tiff.imagej_metadata["Labels"]) == NAMES * 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pixel_type_is_read_back_from_a_numpy_file(tmp_path: Path, dtype: str) -> None:
    write_image(tmp_path / "image.npy", Image(numbers("ZYX", dtype), "ZYX"))
    image = read_image(tmp_path / "image.npy")
    assert (image.axes, image.data.dtype) == ("ZYX", np.dtype(dtype))
    np.testing.assert_array_equal(image.pixels, numbers("ZYX", dtype))


@pytest.mark.parametrize("name", ["image.NPY", "image.PNG", "image.TIF", "image.ome.ZARR"])
def test_suffixes_may_be_upper_case(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, Image(numbers("YX"), "YX"))
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels, numbers("YX"))
