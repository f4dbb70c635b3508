"""Physical sizes in the spellings that occur in files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_coordgate.io import read_image
from napari_coordgate.io.metadata import micrometers, seconds


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("um", 2.0),
        ("Micron", 2.0),
        ("MICRONS", 2.0),
        ("micrometres", 2.0),
        ("\N{MICRO SIGN}m", 2.0),
        ("\N{GREEK SMALL LETTER MU}m", 2.0),
        ("\\u00B5m", 2.0),
        ("Millimeters", 2000.0),
        ("NM", 0.002),
        ("Å", 2e-4),
        ("pixel", None),
        ("s", None),
        ("ms", None),
        ("", None),
        (None, None),
    ],
)
def test_lengths_of_any_spelling_are_converted(unit: str | None, expected: float | None) -> None:
    assert micrometers(2, unit) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "expected"), [("Seconds", 2.0), ("ms", 0.002), ("mins", 120.0), ("m", None)]
)
def test_times_of_any_spelling_are_converted(unit: str, expected: float | None) -> None:
    assert seconds(2, unit) == (None if expected is None else pytest.approx(expected))


def test_one_stated_side_of_a_pixel_is_that_of_both(tmp_path: Path) -> None:
    path = tmp_path / "x_alone.ome.tif"
    sizes = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), metadata=sizes)
    assert read_image(path).pixel_size_um == (0.3, 0.3)


def test_a_z_step_downwards_has_its_size(tmp_path: Path) -> None:
    path = tmp_path / "downwards.tif"
    stated = {"axes": "ZYX", "unit": "um", "spacing": -0.5}
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), imagej=True, metadata=stated)
    assert read_image(path).z_step_um == 0.5
