"""Commands ``wiener`` and ``richardson-lucy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.config import GaussianLens
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.optics import PSFField

if TYPE_CHECKING:
    from tests.cli.conftest import Run

FRAME = (40, 48)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A stack of blurred images, and the PSF field of their lens."""
    folder = tmp_path_factory.mktemp("classical")
    field = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.4), FRAME)
    sharp = np.random.default_rng(0).gamma(0.5, size=(2, *FRAME)).astype(np.float32)
    image, psf = folder / "blurred.ome.tif", folder / "lens.psf.tif"
    write_image(image, Image(100 * field.blur(sharp) + 5, "TYX", (0.2, 0.2)))
    field.save(psf)
    return image, psf


@pytest.mark.parametrize(
    "command",
    [
        ("wiener", "--regularization", "0.02", "--which-psf", "mean"),
        ("richardson-lucy", "--iterations", "4", "--photons", "1000", "--no-accelerate"),
    ],
)
def test_axes_pixel_size_and_settings_are_kept(
    run: Run, command: tuple[str, ...], files: tuple[Path, Path], tmp_path: Path
) -> None:
    (image, psf), (name, *flags) = files, command
    output, again = tmp_path / "restored.ome.tif", tmp_path / "again.ome.tif"
    finished = run(name, image, "--psf", psf, "-o", output, *flags)
    assert (finished.returncode, finished.stderr) == (0, "")
    restored = read_image(output)
    assert (restored.axes, restored.data.shape) == ("TYX", (2, *FRAME))
    assert restored.pixel_size_um == pytest.approx((0.2, 0.2))
    assert np.isfinite(restored.pixels).all()
    settings = tmp_path / "restored.ome.tif.yaml"
    assert run(name, image, "--psf", psf, "-o", again, "--config", settings).returncode == 0
    np.testing.assert_array_equal(read_image(again).pixels, restored.data)


def test_existing_files_are_kept_and_invalid_input_is_an_error(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    image, psf = files
    taken, output = tmp_path / "taken.tif", tmp_path / "out.tif"
    taken.write_bytes(b"mine")
    assert run("wiener", image, "--psf", psf, "-o", taken).returncode == 1
    assert taken.read_bytes() == b"mine"
    foreign = run("wiener", image, "--psf", image, "-o", output)
    assert foreign.returncode == 1
    assert "PSF field" in foreign.stderr
    unknown = run("richardson-lucy", image, "--psf", psf, "-o", output, "--discrepancy")
    assert unknown.returncode == 2
    assert "photons" in unknown.stderr
    assert not output.exists()
