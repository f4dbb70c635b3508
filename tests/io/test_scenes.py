"""Tests of files with several images: every one is found by its name, and none is dropped."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from napari_coordgate.cli.info import file_info
from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, read_image, read_images, write_image
from tests.io.examples import numbers
from tests.io.micromanager import write_stack

PLANES = np.random.default_rng(0).integers(0, 999, (4, 20, 30), np.uint16)


def write_plate(
    path: Path, wells: dict[str, list[str]], planned: int = 2, shape: tuple[int, int] = (20, 30)
) -> None:
    """OME-Zarr plate with these fields in its wells, of which so many were planned for each."""
    planes = np.resize(PLANES, (4, *shape))
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": [{"path": well} for well in wells]}
    count = 0
    for well, fields in wells.items():
        images: Any = [{"path": str(number)} for number in range(planned)]
        group.require_group(well).attrs["well"] = {"images": images}
        for field in fields:
            write_zarr(path / well / field, planes[count])
            count += 1


def write_zarr(path: Path, plane: NDArray[Any]) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("s0", data=plane)
    axes: Any = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale: Any = [{"type": "scale", "scale": [0.5, 0.5]}]
    level: Any = {"path": "s0", "coordinateTransformations": scale}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]


def scenes_of(path: Path) -> list[str | None]:
    return [image.scene for image in read_images(path)]


def test_series_of_unequal_shapes_and_pixel_sizes_are_read_without_the_thumbnail(
    tmp_path: Path,
) -> None:
    path = tmp_path / "series.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for name, data, size in (
            ("first", PLANES, 0.5),
            ("thumbnail image", PLANES[0, ::4, ::4], 2.0),
            ("second", PLANES[0, :, :17], 0.25),
            ("second", PLANES[1], 0.25),
        ):
            sizes = {"PhysicalSizeX": size, "PhysicalSizeY": size}
            stated: Any = {"axes": "ZYX"[-data.ndim :], "Name": name, **sizes}
            file.write(data, metadata=stated)
    images = read_images(path)
    assert [image.scene for image in images] == ["first", "second", "second-2"]
    assert [image.pixel_size_um for image in images] == [(0.5, 0.5), (0.25, 0.25), (0.25, 0.25)]
    for image, data in zip(images, (PLANES, PLANES[0, :, :17], PLANES[1]), strict=True):
        np.testing.assert_array_equal(image.pixels, data)
    assert read_image(path, scene="second").name == f"{path}, scene second"
    assert [image.scene for image in read_images(path, scenes="1:")] == ["second", "second-2"]
    with pytest.raises(ImageError, match=r'has no scene "third"; it has 3 scenes .*named first'):
        read_images(path, scenes="third")
    with pytest.warns(UserWarning, match="has 3 images; only the first one is read, scene first"):
        np.testing.assert_array_equal(read_image(path).pixels, PLANES)


def test_volumes_in_tiles_are_loaded_when_they_are_accessed(tmp_path: Path) -> None:
    path = tmp_path / "volumes.tif"
    volume = np.random.default_rng(0).integers(0, 999, (16, 32, 48), np.uint16)
    with tifffile.TiffWriter(path) as file:
        for data in (volume, volume[::-1]):
            file.write(data, tile=(16, 16, 16), volumetric=True, metadata={"axes": "ZYX"})
    first, second = read_images(path)
    np.testing.assert_array_equal(second.pixels, volume[::-1])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="became shorter"):
        first.plane((0, slice(None), slice(None)))


def test_fields_of_a_plate_are_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plate.zarr"
    write_plate(path, {"A/1": ["0", "1"], "B/12": ["0"]})
    with pytest.warns(UserWarning, match="the pixels of B/12/1 are missing"):
        images = read_images(path)
    assert [image.scene for image in images] == ["A/1/0", "A/1/1", "B/12/0"]
    np.testing.assert_array_equal([image.pixels for image in images], PLANES[:3])
    assert images[0].pixel_size_um == (0.5, 0.5)
    assert scenes_of(path / "A") == ["1/0", "1/1"]
    assert scenes_of(path / "A" / "1" / "1") == [None]
    with pytest.raises(ImageError, match="scene B/12/1: its pixels are missing"):
        read_image(path, scene="B/12/1")


def test_a_damaged_well_does_not_cost_the_plate(tmp_path: Path) -> None:
    path = tmp_path / "plate.zarr"
    write_plate(path, {"A/1": ["0"], "A/2": ["0"]}, planned=1)
    (path / "A" / "1" / ".zattrs").write_text("{")
    np.testing.assert_array_equal(read_image(path, scene="A/2/0").pixels, PLANES[1])
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path, scene=0)


def test_series_of_bioformats2raw_have_the_names_of_their_xml(tmp_path: Path) -> None:
    path = tmp_path / "series.zarr"
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for number in range(2):
        write_zarr(path / str(number), PLANES[number])
    write_zarr(path / "0" / "labels" / "nuclei", PLANES[0])
    assert scenes_of(path) == ["0", "1"]
    (path / "OME").mkdir()
    xml = '<OME xmlns="x"><Image Name="left"/><Image Name="right"/></OME>'
    (path / "OME" / "METADATA.ome.xml").write_text(xml)
    np.testing.assert_array_equal(read_image(path, scene="right").pixels, PLANES[1])
    assert scenes_of(path / "1") == [None]


def test_a_file_with_one_image_has_no_scenes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.ome.tif", Image(numbers("TCZYX"), "TCZYX"))
    assert scenes_of(tmp_path / "a.ome.tif") == [None]
    with pytest.raises(ImageError, match='no scene "1"; it has 1 scene'):
        read_image(tmp_path / "a.ome.tif", scene=1)


def test_positions_of_micro_manager_are_images_with_their_own_place(tmp_path: Path) -> None:
    planes = PLANES.reshape(2, 2, 20, 30)
    indexed = {(t, p): planes[p, t] for t in range(2) for p in range(2)}
    write_stack(tmp_path / "one.tif", indexed, (2, 2))
    for p in range(2):
        path = tmp_path / f"cells_MMStack_Pos{p}.ome.tif"
        write_stack(path, {key: plane for key, plane in indexed.items() if key[1] == p}, (2, 2))
    for path in tmp_path.glob("*.tif"):
        images = read_images(path)
        assert [(image.scene, image.axes) for image in images] == [
            ("left", "TYX"),
            ("right", "TYX"),
        ]
        for number, image in enumerate(images):
            np.testing.assert_array_equal(image.pixels, planes[number])
            assert image.optics.stage_x_um is not None
            assert image.optics.stage_x_um.value == 100.0 * number
            assert (image.pixel_size_um, image.time_step_s) == ((0.5, 0.5), 2.0)


def test_what_is_whole_of_a_stopped_acquisition_of_micro_manager_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cells_MMStack.tif"
    write_stack(path, {(0, 1): PLANES[0], (1, 1): PLANES[1], (0, 2): PLANES[2]}, (2, 3))
    first, second = read_images(path)
    assert (first.scene, second.scene) == ("right", "third")
    np.testing.assert_array_equal(first.pixels, PLANES[:2])
    assert [info.get("missing_planes") for info in file_info(path)["scenes"]] == [None, "1 of 2"]
    with pytest.raises(ImageError, match="plane 1 is missing, 1 of 2 are there"):
        second.plane((1, slice(None), slice(None)))


OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">{}</OME>'


def ome_image(name: str, size: float) -> str:
    """Image of one plane in a file of its name."""
    return (
        f'<Image ID="Image:{name}" Name="{name}"><Pixels ID="Pixels:{name}" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="1" SizeC="1" SizeT="1" '
        f'PhysicalSizeX="{size}" PhysicalSizeY="{size}"><Channel ID="Channel:{name}"/>'
        f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}.ome.tif">urn:uuid:{name}</UUID>'
        "</TiffData></Pixels></Image>"
    )


@pytest.mark.parametrize("root", ["a.ome.tif", "set.companion.ome"])
def test_a_set_of_files_is_found_from_each_of_them(tmp_path: Path, root: str) -> None:
    images = ome_image("a", 0.5) + ome_image("b", 0.25) + ome_image("c", 1.0)
    other = f'<BinaryOnly MetadataFile="{root}" UUID="urn:uuid:root"/>'
    (tmp_path / "set.companion.ome").write_text(OME.format("root", images))
    for number, name in enumerate("ab"):
        text = OME.format(name, images if f"{name}.ome.tif" == root else other)
        path = tmp_path / f"{name}.ome.tif"
        tifffile.imwrite(path, PLANES[number], description=text, metadata=None)
    for name in "ab":
        with pytest.warns(UserWarning, match="the pixels of c are missing"):
            found = read_images(tmp_path / f"{name}.ome.tif")
        assert [image.pixel_size_um for image in found] == [(0.5, 0.5), (0.25, 0.25)]
        np.testing.assert_array_equal([image.pixels for image in found], PLANES[:2])


def test_images_of_one_name_are_told_apart_by_their_files_and_pages(tmp_path: Path) -> None:
    images = "".join(ome_image(name, size) for name, size in zip("abc", (1, 2, 3), strict=True))
    images = images.replace('Name="b"', 'Name="a"').replace('Name="c"', 'Name="a"')
    for number, name in ((0, "a"), (2, "c")):
        path, text = tmp_path / f"{name}.ome.tif", OME.format(name, images)
        tifffile.imwrite(path, PLANES[number], description=text, metadata=None)
    images = re.sub(r"<UUID.*?</UUID>", "", images)
    for page in (0, 9, 1):  # of the second image there is none
        images = images.replace('IFD="0"', f'IFD="+{page}"', 1)
    with tifffile.TiffWriter(tmp_path / "single.ome.tif") as file:
        text = OME.format("single", images.replace("+", ""))
        file.write(PLANES[0], description=text.encode(), metadata=None)
        file.write(PLANES[2], metadata=None)
    for name in ("a", "c", "single"):
        with pytest.warns(UserWarning, match="the pixels of a-1 are missing"):
            found = read_images(tmp_path / f"{name}.ome.tif")
        assert [image.pixel_size_um for image in found] == [(1, 1), (3, 3)]
        np.testing.assert_array_equal([image.pixels for image in found], PLANES[[0, 2]])


def test_an_integer_is_the_number_of_a_scene_even_if_another_one_has_it_as_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "series.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for number in range(3):
            file.write(PLANES[number], metadata={"axes": "YX", "Name": str(number + 1)})
    for number in range(3):
        np.testing.assert_array_equal(read_image(path, scene=number).pixels, PLANES[number])
    np.testing.assert_array_equal(read_image(path, scene="1").pixels, PLANES[0])
    with pytest.raises(ImageError, match='no scene "4"'):
        read_image(path, scene=4)
