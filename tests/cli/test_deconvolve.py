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


@pytest.mark.parametrize(
    "flags",
    [
        ("--method", "richardson-lucy"),
        ("--method", "richardson-lucy", "--num-iter", "4", "--photons", "1000", "--discrepancy"),
        ("--method", "wiener", "--regularization", "0.02", "--which-psf", "mean"),
    ],
)
def test_deblur_with_a_psf_field_equals_the_command_of_the_method(
    run: Run, files: tuple[Path, Path], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    image, psf = files
    command = "wiener" if "wiener" in flags else "richardson-lucy"
    assert run(command, image, "--psf", psf, "-o", tmp_path / "a.tif", *flags[2:]).returncode == 0
    finished = run("deblur", image, tmp_path / "b.ome.tif", "--psf", psf, *flags)
    assert finished.returncode == 0
    expected, restored = read_image(tmp_path / "a.tif"), read_image(tmp_path / "b.ome.tif")
    np.testing.assert_array_equal(restored.pixels, expected.data)
    assert restored.axes == "TYX"
    assert restored.pixel_size_um == pytest.approx((0.2, 0.2))
    settings = tmp_path / "b.ome.tif.yaml"
    again = ("deblur", image, tmp_path / "c.tif", "--psf", psf, "--config", settings)
    assert run(*again, "--keep-dtype").returncode == 0
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif").pixels, expected.data)


def test_a_folder_is_deconvolved_once(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    image, psf = files
    folder, output = tmp_path / "blurred", tmp_path / "deblurred"
    folder.mkdir()
    for number, plane in enumerate(read_image(image).pixels):
        write_image(folder / f"{number}.tif", Image(plane, "YX", (0.2, 0.2)))
    batch = ("deblur", folder, output, "--psf", psf, "--num-iter", "3")
    assert "Deblurred 2 files" in run(*batch).stdout
    assert "2 up to date" in run(*batch).stdout
    assert "2 failed" in run(*batch, "--method", "wiener").stdout
    assert "Deblurred 2 files" in run(*batch, "--method", "wiener", "--overwrite").stdout
    plane = ("richardson-lucy", folder / "0.tif", "--psf", psf, "-o", tmp_path / "0.tif")
    assert run(*plane, "--num-iter", "3").returncode == 0
    assert "Deblurred 2 files" in run(*batch, "--overwrite").stdout
    expected = read_image(tmp_path / "0.tif").pixels
    np.testing.assert_array_equal(read_image(output / "0.ome.tif").pixels, expected)


def test_flags_of_the_other_kind_of_method_are_refused(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    image, psf = files
    output, model = tmp_path / "out.tif", tmp_path / "model.safetensors"
    for flags, words in (
        ((), "Give a PSF field (--psf) or a lens (--lens)"),
        (("--psf", psf, "--lens", psf), "either a PSF field"),
        (("--model", model, "--num-iter", "3"), "--num-iter has no effect on models"),
        (("--model", model, "--which-psf", "mean"), "--which-psf has no effect on models"),
        (("--psf", psf, "--precision", "float32"), "--precision has no effect on universal"),
        (("--psf", psf, "--discrepancy"), "photons"),
    ):
        finished = run("deblur", image, output, *flags)
        assert finished.returncode == 2
        assert words in finished.stderr
    assert not output.exists()
