"""The command ``calibrate shifted``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.config import Lens, load_lens
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField
from tests.calibration.scenes import LENS, texture

if TYPE_CHECKING:
    from tests.cli.conftest import Run

SIDE = 192


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images ``a.tif`` and ``b.tif`` of one sample, and the aperture of their lens."""
    tmp_path = tmp_path_factory.mktemp("shifted")
    psf_field = PSFField.from_lens(LENS.replace(field_curvature_um=3), (SIDE, SIDE), 0.03)
    scene, rng = texture(np.random.default_rng(0), 320), np.random.default_rng(1)
    for name, origin in (("a", (-90, -80)), ("b", (-40, -30))):
        counts = rng.poisson(1000 * np.clip(psf_field.blur(scene, origin=origin), 0, None))
        write_image(tmp_path / f"{name}.tif", Image(counts.astype(np.uint16), "YX"))
    (tmp_path / "aperture.yaml").write_text(LENS.to_yaml())
    return tmp_path


def test_the_lens_is_measured_printed_and_saved(recorded: Path, run: Run) -> None:
    files = (recorded / "a.tif", recorded / "b.tif", "--lens", recorded / "aperture.yaml")
    outputs = ("-o", recorded / "lens.yaml", "--report", recorded / "lens.html")
    finished = run("calibrate", "shifted", *files, *outputs, "--shift-px", "50,50")
    assert finished.returncode == 0, finished.stderr
    assert "field_curvature_um: " in finished.stdout
    assert "pixels: 50." in finished.stdout or "pixels: 49.9" in finished.stdout
    lens = load_lens(recorded / "lens.yaml")
    assert isinstance(lens, Lens)
    assert lens.calibration is not None
    error = lens.calibration.standard_errors["field_curvature_um"]
    assert abs(lens.field_curvature_um - 3) < 3 * error
    assert "<img" in (recorded / "lens.html").read_text()


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        ("a", (), "one image"),
        ("ab", ("--shift-px", "far"), "-512,0"),
        ("ab", ("--shift-px", "1,2", "--shift-um", "1,2"), "not both"),
        ("aa", (), "shifted by only"),
        ("ab", ("--free", "coma_waves"), "coma_waves"),
    ],
)
def test_bad_input_gets_one_line(
    recorded: Path, run: Run, names: str, flags: tuple[str, ...], message: str
) -> None:
    files = [recorded / f"{name}.tif" for name in names]
    lens = ("--lens", recorded / "aperture.yaml", "-o", recorded / "wrong.yaml")
    finished = run("calibrate", "shifted", *files, *lens, *flags)
    assert finished.returncode in (1, 2)
    assert message in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert not (recorded / "wrong.yaml").exists()
