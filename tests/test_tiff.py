import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.images import read_image

ByteOrder = Literal["<", ">"]

LAYOUTS: dict[str, dict[str, Any]] = {
    "shaped": {},
    "bare": {"metadata": None},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "big": {"bigtiff": True, "metadata": None},
    "strips": {"rowsperstrip": 4},
    "deflated": {"compression": "zlib", "rowsperstrip": 4},
    "tiles": {"tile": (16, 16)},
    "deflated tiles": {"tile": (16, 16), "compression": "zlib"},
}


def stack() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(1, 60000, (3, 20, 17)).astype(np.uint16)


def write(path: Path, layout: str, byteorder: ByteOrder = "<") -> None:
    tifffile.imwrite(
        path, stack(), photometric="minisblack", byteorder=byteorder, **LAYOUTS[layout]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_layout_is_read(tmp_path: Path, layout: str, byteorder: ByteOrder) -> None:
    write(tmp_path / "stack.tif", layout, byteorder)
    image = read_image(tmp_path / "stack.tif")
    assert image.axes == "ZYX"
    assert np.array_equal(image.data, stack())


@pytest.mark.parametrize("layout", ["shaped", "bare", "imagej", "ome", "big", "strips"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_contiguous_pixels_are_mapped_not_loaded(
    tmp_path: Path, layout: str, byteorder: ByteOrder
) -> None:
    write(tmp_path / "stack.tif", layout, byteorder)
    assert isinstance(read_image(tmp_path / "stack.tif").data, np.memmap)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file_is_never_read_as_something_else(tmp_path: Path, layout: str) -> None:
    write(tmp_path / "whole.tif", layout)
    contents = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "cut.tif"
    refused = 0
    for length in range(0, len(contents), 61):
        path.write_bytes(contents[:length])
        try:
            image = read_image(path)
        except ImageError as error:
            assert str(error).startswith(str(path))
            assert len(str(error).splitlines()) == 1
            refused += 1
        else:
            assert np.array_equal(image.data, stack())
    assert refused > 0.8 * len(contents) / 61


def test_damage_is_reported_in_the_error_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "whole.tif", "bare")
    contents = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(contents[: len(contents) // 2])
    handlers = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()  # pytest's, which would listen in place of the terminal
    try:
        with pytest.raises(ImageError, match="pages are missing"):
            read_image(tmp_path / "cut.tif")
    finally:
        logging.getLogger().handlers[:] = handlers
    assert capfd.readouterr() == ("", "")


def test_lzw_is_read_or_the_error_names_the_missing_package(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    PIL.Image.fromarray(stack()[0]).save(path, compression="tiff_lzw")
    try:
        image = read_image(path)
    except ImageError as error:
        assert str(error).endswith("install imagecodecs, or save it uncompressed.")
    else:
        assert np.array_equal(image.data, stack()[0])


@pytest.mark.parametrize(
    ("unit", "size_um"),
    [
        ("um", 0.25),
        ("micron", 0.25),
        ("\\u00B5m", 0.25),
        ("nm", 0.00025),
        ("mm", 250),
        ("pixel", None),
        ("furlong", None),
    ],
)
def test_imagej_units_are_understood(tmp_path: Path, unit: str, size_um: float | None) -> None:
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, stack(), imagej=True, resolution=(4, 2), metadata={"unit": unit})
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


@pytest.mark.parametrize(
    ("unit", "size_um"), [("µm", 0.25), ("nm", 0.00025), ("mm", 250), ("pixel", None)]
)
def test_ome_units_are_understood(tmp_path: Path, unit: str, size_um: float | None) -> None:
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, stack(), metadata={"axes": "ZYX", **sizes, **units})
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


@pytest.mark.parametrize(
    ("unit", "size_um"), [("CENTIMETER", 2.5), ("MICROMETER", 0.00025), ("INCH", None)]
)
def test_resolution_tags_are_understood_but_not_those_of_a_print(
    tmp_path: Path, unit: str, size_um: float | None
) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, stack()[0], resolution=(4000, 2000), resolutionunit=unit)
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


def test_a_size_of_zero_is_no_size(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.0}
    tifffile.imwrite(tmp_path / "image.ome.tif", stack(), metadata={"axes": "ZYX", **sizes})
    assert read_image(tmp_path / "image.ome.tif").pixel_size_um is None


def test_of_a_pyramid_the_full_resolution_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.ome.tif"
    plane = stack()[0]
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(plane, subifds=1, metadata={"axes": "YX"})
        tiff.write(plane[::2, ::2], subfiletype=1)
    assert np.array_equal(read_image(path).data, plane)


def test_an_ome_tiff_that_lacks_planes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (3, 20, 17), (3, 1, 1, 20, 17, 1), axes="ZYX")
    tifffile.imwrite(path, stack()[0], description=xml.tostring(), metadata=None)
    with pytest.raises(ImageError, match="pages are missing"):
        read_image(path)
