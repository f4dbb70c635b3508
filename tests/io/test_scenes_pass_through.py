"""Of a file of several scenes, channels and unequal pixels, each result describes what it did."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_coordgate.cli.info import file_info
from napari_coordgate.io import Image, read_images, write_image
from napari_coordgate.io.optical_metadata import stated_optics
from tests.io.microscopes.files import add_to_czi, write_czi, write_lif

PLANES = np.random.default_rng(0).integers(0, 999, (2, 2, 20, 30), np.uint16)
NAMES = ("DAPI", "GFP")


def ome_tiff(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for number, planes in enumerate(PLANES):
            sizes = {"PhysicalSizeY": 300, "PhysicalSizeYUnit": "nm", "PhysicalSizeX": 0.2}
            channel = {"Name": NAMES, "EmissionWavelength": [461, 509], "Color": [255, 65535]}
            stated: Any = {"axes": "CYX", "Name": f"site {number}", "Channel": channel, **sizes}
            file.write(planes, metadata=stated)


def ome_zarr(path: Path) -> None:
    optics = stated_optics(
        na=(0.8, "file"),
        acquired=("2024-05-06T07:08:09", "file"),
        stage_x_um=(5.0, "file"),
        wavelengths_nm=[(461, "file"), (509, "file")],
        exposures_s=[(0.1, "file"), (0.2, "file")],
    )
    colors = ("0000FF", "00FF00")
    for number, planes in enumerate(PLANES):
        image = Image(
            planes,
            "CYX",
            (0.3, 0.2),
            channel_names=NAMES,
            optics=optics,
            channel_colors=colors,
        )
        write_image(path / f"site {number}.zarr", image)
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')


def czi(path: Path) -> None:
    write_czi(path, [planes[None, :, None] for planes in PLANES], NAMES)
    sizes = {"X": 0.2e-6, "Y": 0.3e-6}
    items = (f'<Distance Id="{n}"><Value>{size}</Value></Distance>' for n, size in sizes.items())
    add_to_czi(path, f"<Scaling><Items>{''.join(items)}</Items></Scaling>")


def lif(path: Path) -> None:
    steps = {"Y": 0.3e-6, "X": 0.2e-6}
    write_lif(path, [("CYX", planes) for planes in PLANES], NAMES, steps)


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.ome.tif": ome_tiff,
    "a.zarr": ome_zarr,
    "a.czi": czi,
    "a.lif": lif,
}


def described(info: dict[str, Any]) -> dict[str, Any]:
    """What `info` says of an image, without its file and the sources of values."""
    optics = {name: text.partition(" (")[0] for name, text in info.get("optics", {}).items()}
    size = [round(side, 5) for side in info["pixel_size_um"]]
    others = {name: info[name] for name in info if name not in ("file", "kind", "scene")}
    return {**others, "optics": optics, "pixel_size_um": size}


@pytest.mark.parametrize("name", WRITERS)
def test_info_of_a_scene_and_of_its_result_are_the_same(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    before, images = file_info(tmp_path / name)["scenes"], read_images(tmp_path / name)
    for info, image, planes in zip(before, images, PLANES, strict=True):
        expected = described(info)
        assert (expected["channels"], expected["pixel_size_um"]) == (list(NAMES), [0.3, 0.2])
        for suffix in (".ome.tif", ".ome.zarr", ".tif"):
            result = tmp_path / f"{image.scene}{suffix}"
            write_image(result, image)
            assert described(file_info(result)) == expected
            np.testing.assert_array_equal(read_images(result)[0].pixels, planes)
