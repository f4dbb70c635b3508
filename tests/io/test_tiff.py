import itertools
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io import read_image
from napari_coordgate.io.lazy import LazyArray

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
    assert np.array_equal(image.pixels, stack())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file_is_refused_or_read_correctly(tmp_path: Path, layout: str) -> None:
    write(tmp_path / "whole.tif", layout)
    contents = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "cut.tif"
    refused = 0
    for length in range(0, len(contents), 61):
        path.write_bytes(contents[:length])
        try:
            pixels = read_image(path).pixels
        except ImageError as error:
            assert str(error).startswith(str(path))
            assert len(str(error).splitlines()) == 1
            refused += 1
        else:
            assert np.array_equal(pixels, stack())
    assert refused > 0.8 * len(contents) / 61


def test_damage_is_reported_only_by_the_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "whole.tif", "bare")
    contents = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(contents[: len(contents) // 2])
    handlers = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()  # pytest's, which would receive the log
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
        assert np.array_equal(image.pixels, stack()[0])


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
def test_imagej_units_are_converted(tmp_path: Path, unit: str, size_um: float | None) -> None:
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, stack(), imagej=True, resolution=(4, 2), metadata={"unit": unit})
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


@pytest.mark.parametrize(
    ("unit", "size_um"), [("µm", 0.25), ("nm", 0.00025), ("mm", 250), ("pixel", None)]
)
def test_ome_units_are_converted(tmp_path: Path, unit: str, size_um: float | None) -> None:
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, stack(), metadata={"axes": "ZYX", **sizes, **units})
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


@pytest.mark.parametrize(
    ("unit", "size_um"), [("CENTIMETER", 2.5), ("MICROMETER", 0.00025), ("INCH", None)]
)
def test_resolution_tags_are_read_except_dots_per_inch(
    tmp_path: Path, unit: str, size_um: float | None
) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, stack()[0], resolution=(4000, 2000), resolutionunit=unit)
    size = read_image(path).pixel_size_um
    assert size == (None if size_um is None else pytest.approx((2 * size_um, size_um)))


def test_a_pixel_size_of_zero_is_ignored(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.0}
    tifffile.imwrite(tmp_path / "image.ome.tif", stack(), metadata={"axes": "ZYX", **sizes})
    assert read_image(tmp_path / "image.ome.tif").pixel_size_um is None


def test_a_pyramid_is_read_at_full_resolution(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.ome.tif"
    plane = stack()[0]
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(plane, subifds=1, metadata={"axes": "YX"})
        tiff.write(plane[::2, ::2], subfiletype=1)
    assert np.array_equal(read_image(path).pixels, plane)


def test_missing_planes_of_an_ome_tiff_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (3, 20, 17), (3, 1, 1, 20, 17, 1), axes="ZYX")
    tifffile.imwrite(path, stack()[0], description=xml.tostring(), metadata=None)
    image = read_image(path)
    plane = slice(None), slice(None)
    assert np.array_equal(image.plane((0, *plane)), stack()[0])
    with pytest.raises(ImageError, match="plane 1 is missing, 1 of 3"):
        image.plane((1, *plane))


# Windows of compressed or tiled pages

COLORS = np.random.default_rng(1).integers(0, 256, (3, 60, 70, 3), np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 32)},
        {"compression": "zlib", "rowsperstrip": 7},
        {"compression": "zlib", "tile": (16, 32), "predictor": True},
        {"compression": "jpeg", "tile": (16, 32), "compressionargs": {"level": 95}},
        {"compression": "zlib", "tile": (32, 16), "planarconfig": "separate"},
        {"compression": "lzw", "planarconfig": "separate", "rowsperstrip": 11},
    ],
)
def test_a_window_equals_that_of_the_whole_page(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "colors.tif"
    separate = "planarconfig" in options
    pixels = COLORS.transpose(0, 3, 1, 2) if separate else COLORS
    tifffile.imwrite(path, pixels, photometric="rgb", **options)
    image = read_image(path)
    assert image.axes == ("ZSYX" if separate else "ZYXS")
    whole = tifffile.imread(path)  # not COLORS: JPEG is lossy
    windows: list[Any] = [slice(0, 5), slice(13, 37), slice(40, 60, 3), 59]
    for rows, columns in itertools.product(windows, repeat=2):
        index = (2, 1, rows, columns) if separate else (2, rows, columns, 1)
        np.testing.assert_array_equal(image.data[index], whole[index])
    np.testing.assert_array_equal(image.pixels, whole)


def test_windows_of_bool_pixels_are_read(tmp_path: Path) -> None:
    mask = COLORS[0, ..., 0] > 100
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.tif").data[3:9, 5:], mask[3:9, 5:])


def test_missing_tiles_of_a_sparse_file_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiles = iter([np.ones((16, 16), np.uint8), *[None] * 3])
        tiff.write(tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression="zlib")
    pixels = read_image(path).pixels
    assert pixels.sum() == pixels[:16, :16].sum() == 256


def test_an_image_in_several_files_is_read(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="17" SizeY="20" '
        'SizeZ="2" SizeC="1" SizeT="1" BigEndian="false"><Channel ID="Channel:0:0" />'
        '<TiffData FirstZ="0" IFD="0"><UUID FileName="a.ome.tif">urn:uuid:0</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0"><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for number, name in enumerate("ab"):
        text = xml.replace("<OME ", f'<OME UUID="urn:uuid:{number}" ')
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif", stack()[number], description=text, metadata=None
        )
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.pixels, stack()[:2])
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(ImageError, match=r"b\.ome\.tif|plane 1 is missing"):
        read_image(tmp_path / "a.ome.tif").plane((1, slice(None), slice(None)))


def test_a_tile_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.tif"
    tifffile.imwrite(path, stack()[0], tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages.first.tags
        for name, side in {"TileWidth": 1 << 20, "TileLength": 1 << 20}.items():
            tags[name].overwrite(side, dtype="I")
            tags["Image" + name[4:]].overwrite(side, dtype="I")
    with pytest.raises(ImageError, match=r"claims\.tif cannot be read"):
        read_image(path)


def test_strips_that_claim_terabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.tif"
    tifffile.imwrite(path, stack()[0], metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite((1 << 31) - 1, dtype="I")
    with pytest.raises(ImageError, match="the file ends before the end of its pixels"):
        read_image(path)


def test_an_opaque_alpha_channel_is_dropped_lazily(tmp_path: Path) -> None:
    for last, axes in ((255, 3), (254, 4)):
        path = tmp_path / f"{last}.tif"
        alpha = np.full((3, 60, 70, 1), 255, np.uint8)
        alpha[-1, -1, -1] = last
        tifffile.imwrite(
            path, np.concatenate([COLORS, alpha], -1), photometric="rgb", extrasamples=[2]
        )
        image = read_image(path)
        assert image.data.shape == (3, 60, 70, axes)
        assert isinstance(image.data, LazyArray)
        np.testing.assert_array_equal(image.data[..., :3], COLORS)


def test_windows_of_a_huge_plane_need_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    side, tile = 32768, np.arange(512 * 512, dtype=np.uint16).reshape(512, 512)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiles = (tile if n in (0, 64 * 40 + 33) else None for n in range((side // 512) ** 2))
        tiff.write(tiles, shape=(side, side), dtype=np.uint16, tile=(512, 512), compression="zlib")
    program = (
        "import resource, sys, numpy as np\n"
        "from napari_coordgate.io import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "view = read_image(sys.argv[1]).view((slice(None), slice(None)))\n"
        "total = sum(int(view[y : y + 600, 16384:17800].sum()) for y in range(19000, 22000, 600))\n"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    total, kilobytes = map(int, ended.stdout.split())
    assert total == tile.sum()
    assert kilobytes < 200_000  # the plane takes 2 GB


def test_a_stack_of_ten_thousand_pages_opens_without_parsing_all(tmp_path: Path) -> None:
    parsed: list[int] = []
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, np.zeros((10_000, 4, 4), np.uint8), imagej=True)
    original = tifffile.TiffPage.__init__

    def counting(self: tifffile.TiffPage, *args: Any, **options: Any) -> None:
        parsed.append(1)
        original(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tifffile.TiffPage, "__init__", counting)
        image = read_image(path)
    assert image.data.shape == (10_000, 4, 4)
    assert len(parsed) < 10


# Steps and channel names


@pytest.mark.parametrize(
    ("unit", "time_unit", "step", "time_step"),
    [("nm", "ms", 0.0005, 0.002), ("µm", "s", 0.5, 2.0), ("mm", "min", 500, 120), ("?", "?", 0, 0)],
)
def test_ome_steps_are_converted(
    tmp_path: Path, unit: str, time_unit: str, step: float, time_step: float
) -> None:
    steps = {"PhysicalSizeZ": 0.5, "TimeIncrement": 2.0}
    units = {"PhysicalSizeZUnit": unit, "TimeIncrementUnit": time_unit}
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, stack(), metadata={"axes": "ZYX", **steps, **units})
    image = read_image(path)
    assert image.z_step_um == (pytest.approx(step) if step else None)
    assert image.time_step_s == (pytest.approx(time_step) if time_step else None)


def test_imagej_steps_are_converted_and_labels_of_planes_are_not_channel_names(
    tmp_path: Path,
) -> None:
    path = tmp_path / "imagej.tif"
    stated = {"axes": "TCYX", "unit": "nm", "spacing": 300.0, "finterval": 0.5}
    for labels, names in {("a", "b", "a", "b"): ("a", "b"), ("a", "b", "c", "d"): ()}.items():
        tifffile.imwrite(
            path,
            np.zeros((2, 2, 5, 6), np.uint16),
            imagej=True,
            resolution=(0.01, 0.01),
            metadata={**stated, "Labels": list(labels)},
        )
        image = read_image(path)
        assert image.z_step_um == pytest.approx(0.3)
        assert image.time_step_s == 0.5
        assert image.channel_names == names


@pytest.mark.parametrize("pages", [1, 3, 150])
def test_pages_that_form_a_loop_are_an_error(tmp_path: Path, pages: int) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path, np.zeros((pages, 5, 6), np.uint8), photometric="minisblack", metadata=None
    )
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == pages
        first, end = tiff.pages.first.offset, tiff.pages.next_page_offset
    assert end is not None
    with path.open("r+b") as file:
        file.seek(end)
        file.write(first.to_bytes(4, "little"))
    with pytest.raises(ImageError, match="pages are missing"):
        read_image(path)


def test_planes_of_a_stopped_acquisition_are_read_and_missing_ones_named(tmp_path: Path) -> None:
    """Three times of two channels were planned; the last plane is missing."""
    planned, path = tmp_path / "planned.ome.tif", tmp_path / "stopped.ome.tif"
    planes = np.random.default_rng(0).integers(0, 255, (3, 2, 16, 20)).astype(np.uint8)
    tifffile.imwrite(planned, planes, metadata={"axes": "TCYX"})
    with tifffile.TiffFile(planned) as tiff:
        xml = tiff.ome_metadata
    assert xml is not None
    there = "".join(
        f'<TiffData FirstT="{n // 2}" FirstC="{n % 2}" FirstZ="0" IFD="{n}" PlaneCount="1"/>'
        for n in range(5)
    )
    description = re.sub(r"<TiffData[^>]*/>", there, xml).encode()
    tifffile.imwrite(path, planes.reshape(6, 16, 20)[:5], description=description, metadata=None)
    image = read_image(path)
    plane = slice(None), slice(None)
    np.testing.assert_array_equal(image.data[slice(2), slice(None), *plane], planes[:2])
    np.testing.assert_array_equal(image.plane((2, 0, *plane)), planes[2, 0])
    with pytest.raises(ImageError, match=r"stopped.ome.tif: plane 2, 1 is missing, 5 of 6"):
        image.plane((2, 1, *plane))


@pytest.mark.parametrize(
    ("dtype", "options", "white"),
    [
        (np.uint8, {}, 255),
        (np.uint16, {"compression": "zlib", "tile": (16, 16)}, 65535),
        (np.int16, {}, -1),
    ],
)
def test_an_image_whose_minimum_is_white_is_inverted(
    tmp_path: Path, dtype: type, options: dict[str, Any], white: int
) -> None:
    stored: NDArray[Any] = np.arange(2 * 20 * 30).reshape(2, 20, 30).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **options)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, (white - stored.astype(int)).astype(dtype))
    assert image.data[1, 3:5, 7].tolist() == image.pixels[1, 3:5, 7].tolist()


def test_an_image_that_imagej_displays_inverted_keeps_its_values(tmp_path: Path) -> None:
    stored = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", imagej=True)
    tifffile.imwrite(tmp_path / "b.tif", stored > 300)  # tifffile says that 0 is white
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, stored)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").pixels, stored > 300)
