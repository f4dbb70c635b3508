"""The command ``validate-shifted``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField
from tests.calibration.scenes import LENS, cells

if TYPE_CHECKING:
    from tests.cli.conftest import Run

SIDE = 256


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images ``a.tif`` and ``b.tif`` of one sample, and the PSF field of their lens."""
    folder = tmp_path_factory.mktemp("validate")
    field = PSFField.from_lens(LENS.replace(field_curvature_um=6), (SIDE, SIDE), 0.03)
    scene, rng = cells(np.random.default_rng(4), 480, 500), np.random.default_rng(1)
    for name, origin in (("a", (-100, -160)), ("b", (-94, -42))):
        counts = rng.poisson(1000 * np.clip(field.blur(scene, origin=origin), 0, None))
        write_image(folder / f"{name}.tif", Image(counts.astype(np.uint16), "YX"))
    field.save(folder / "field.tif")
    return folder


def test_the_agreement_is_printed_and_saved_once(recorded: Path, run: Run) -> None:
    images = recorded / "a.tif", recorded / "b.tif"
    flags = ("--psf", recorded / "field.tif", "-o", recorded / "proof", "--no-check")
    finished = run("validate-shifted", *images, *flags, "--method", "richardson-lucy")
    assert finished.returncode == 0, finished.stderr
    assert "Edge and middle agree better" in finished.stdout
    numbers = recorded / "proof" / "agreement.json"
    assert json.loads(numbers.read_text())["outcome"] == "better"
    again = run("validate-shifted", *images, *flags)
    assert again.returncode == 1
    assert "already exists" in again.stderr


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        ("aa", (), "shifted by only"),
        ("ab", ("--shift-px", "far"), "-512,0"),
        ("ax", (), "x.tif"),
    ],
)
def test_bad_input_gets_one_line(
    recorded: Path, run: Run, names: str, flags: tuple[str, ...], message: str
) -> None:
    files = [recorded / f"{name}.tif" for name in names]
    finished = run("validate-shifted", *files, "--psf", recorded / "field.tif", *flags)
    assert finished.returncode in (1, 2)
    assert message in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
