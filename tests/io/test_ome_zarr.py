"""Tests of OME-Zarr: its specification, resolution levels, and stores of other programs."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io import Image, PlaneView, create_image, read_image, write_image
from tests.io.examples import numbers

AXES_04: list[Any] = [
    {"name": "t", "type": "time", "unit": "millisecond"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "nanometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def write_04(path: Path, **changes: Any) -> None:
    """Store of zarr 2 as version 0.4 has it, with a scale of the image and one of the level."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("s0", data=numbers("TCZYX"), chunks=(1, 1, 1, 4, 4))
    level: dict[str, Any] = {
        "path": "s0",
        "coordinateTransformations": [scaled(1, 1, 500, 0.2, 0.1)],
    }
    image: dict[str, Any] = {
        "version": "0.4",
        "axes": AXES_04,
        "datasets": [level],
        "coordinateTransformations": [scaled(250, 1, 1, 1, 1)],
    }
    look = {"color": "FFFFFF", "window": {"min": 0, "max": 9, "start": 0, "end": 9}}
    labels = [{"label": name, **look} for name in ("DAPI", "GFP", "Cy5")]
    stored: Any = {"multiscales": [image | changes], "omero": {"channels": labels}}
    group.attrs.update(stored)


def scaled(*sides: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(sides)}


def level(path: Path, number: int) -> NDArray[np.float64]:
    return np.asarray(zarr.open_array(path / str(number), mode="r")[...], float)


def test_version_0_4_is_read_with_sizes_and_channel_names(tmp_path: Path) -> None:
    write_04(tmp_path / "image.zarr")
    yaozarrs.validate_zarr_store(tmp_path / "image.zarr")
    image = read_image(tmp_path / "image.zarr")
    np.testing.assert_array_equal(image.pixels, numbers("TCZYX"))
    assert (image.axes, image.pixel_size_um) == ("TCZYX", (0.2, 0.1))
    assert (image.z_step_um, image.time_step_s) == (0.5, 0.25)
    assert image.channel_names == ("DAPI", "GFP", "Cy5")


def test_a_store_without_units_has_no_sizes(tmp_path: Path) -> None:
    axes = [{"name": axis["name"], "type": axis["type"]} for axis in AXES_04]
    write_04(tmp_path / "image.zarr", axes=axes)
    image = read_image(tmp_path / "image.zarr")
    assert (image.pixel_size_um, image.z_step_um, image.time_step_s) == (None, None, None)


def test_a_plain_array_is_an_image_without_named_axes(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "image.zarr", data=numbers("ZYX"))
    image = read_image(tmp_path / "image.zarr")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.pixels, numbers("ZYX"))


def test_a_store_without_an_image_is_refused(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "file.zarr").touch()
    for name, problem in {
        "empty": "contains no OME-Zarr image",
        "folder": "is a folder; use",
        "file": "is a file; an OME-Zarr image is a folder",
    }.items():
        with pytest.raises(ImageError, match=rf"{name}\.zarr {problem}"):
            read_image(tmp_path / f"{name}.zarr")


@pytest.mark.parametrize("damage", ["{", "[]", '{"multiscales": [{"datasets": []}]}', "null"])
def test_damaged_attributes_are_a_one_line_error(tmp_path: Path, damage: str) -> None:
    write_04(tmp_path / "image.zarr")
    (tmp_path / "image.zarr" / ".zattrs").write_text(damage)
    with pytest.raises(ImageError, match=r"image\.zarr") as caught:
        read_image(tmp_path / "image.zarr")
    assert len(str(caught.value).splitlines()) == 1


def test_a_store_that_claims_terabytes_allocates_nothing(tmp_path: Path) -> None:
    write_04(tmp_path / "image.zarr")
    array = tmp_path / "image.zarr" / "s0" / ".zarray"
    stored = json.loads(array.read_text())
    array.write_text(json.dumps(stored | {"shape": [2, 3, 4, 10**7, 10**7]}))
    tracemalloc.start()
    image = read_image(tmp_path / "image.zarr")
    window = image.view((0, 0, 0, slice(None), slice(None)))[10**6 : 10**6 + 9, :5]
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    assert (window.shape, window.max()) == ((9, 5), 0)  # missing chunks have the fill value
    array.write_text(json.dumps(stored | {"chunks": [1, 1, 1, 10**6, 10**6]}))
    with pytest.raises(ImageError, match="its chunks claim 2000"):
        read_image(tmp_path / "image.zarr")


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TCZYX", "ZCYX", "YXS"])
def test_written_stores_conform_to_the_specification(tmp_path: Path, axes: str) -> None:
    names = ("DAPI", "GFP", "Cy5") if "C" in axes else ()
    image = Image(numbers(axes, "f4"), axes, (0.2, 0.1), z_step_um=0.5, channel_names=names)
    write_image(tmp_path / "image.ome.zarr", image)
    store = yaozarrs.validate_zarr_store(tmp_path / "image.ome.zarr")
    assert store.ome_version() == "0.5"


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "?"])
def test_levels_are_means_of_2_x_2_pixels(tmp_path: Path, dtype: str) -> None:
    plane = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, (2, 2051, 37))
    image = Image(plane.astype(dtype), "CYX", (0.2, 0.1), channel_names=("a", "b"))
    write_image(tmp_path / "image.ome.zarr", image)
    yaozarrs.validate_zarr_store(tmp_path / "image.ome.zarr")
    fine, coarse = (level(tmp_path / "image.ome.zarr", number) for number in range(2))
    assert coarse.shape == (2, 1026, 19)
    np.testing.assert_array_equal(fine, plane)
    means = plane[:, :2050, :36].reshape(2, 1025, 2, 18, 2).mean((2, 4))
    tolerance = {"f4": 1e-6}.get(dtype, 0.5)
    np.testing.assert_allclose(coarse[:, :1025, :18], means, atol=tolerance)
    np.testing.assert_allclose(coarse[:, 1025, 18], plane[:, -1, -1], atol=1e-6)


def test_only_filled_chunks_are_stored(tmp_path: Path) -> None:
    like = Image(numbers("YX"), "YX")
    with create_image(tmp_path / "a.ome.zarr", like, shape=(500, 300), chunk=(200, 128)) as out:
        PlaneView(out, (slice(None), slice(None)))[:200, :128] = np.ones((200, 128))
    stored = json.loads((tmp_path / "a.ome.zarr" / "0" / "zarr.json").read_text())
    assert stored["chunk_grid"]["configuration"]["chunk_shape"] == [200, 128]
    assert [path.name for path in (tmp_path / "a.ome.zarr" / "0" / "c").glob("*/*")] == ["0"]


def test_a_folder_of_other_files_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "image.zarr").mkdir()
    (tmp_path / "image.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is a folder of other files"):
        write_image(tmp_path / "image.zarr", Image(numbers("YX"), "YX"), overwrite=True)
    assert (tmp_path / "image.zarr" / "thesis.txt").read_text() == "years of work"


def test_a_process_that_wrote_a_store_exits_without_output(tmp_path: Path) -> None:
    program = (
        "import numpy, sys\n"
        "from napari_coordgate.io import Image, read_image, write_image\n"
        "write_image(sys.argv[1], Image(numpy.ones((9, 9)), 'YX'))\n"
        "assert read_image(sys.argv[1]).pixels.all()\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "image.ome.zarr")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
