"""Laws of deblurring with the universal model; most models here are small and untrained."""

from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.calibration import check
from napari_coordgate.config import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    Lens,
    UniversalConfig,
)
from napari_coordgate.errors import (
    CoordGateError,
    FrameMismatchError,
    ImageError,
    ModelError,
    SettingsError,
)
from napari_coordgate.inference import deblur
from napari_coordgate.io.lens_library import save_lens
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import simulate
from tests.inference.making import Pixels, random_model, random_universal_model

LENS = GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2, pixel_size_um=0.5)
MODEL = random_universal_model()


def field_of(shape: tuple[int, int]) -> PSFField:
    return PSFField.from_lens(LENS, shape)


def blurred_and_sharp(shape: tuple[int, int], photons: float = 500) -> tuple[Pixels, Pixels]:
    """Spots on a background, recorded by the lens, and as they are."""
    spots = np.random.default_rng(0).random(shape) > 0.97
    sharp = (1000.0 * spots + 100).astype(np.float32)
    psf_field = field_of(shape)
    return simulate(sharp, psf_field, Camera(photons=photons, read_noise=2), 0), sharp


@pytest.mark.parametrize("shape", [(40, 40), (33, 57), (64, 31)])
def test_images_of_any_size_get_sharper(shape: tuple[int, int]) -> None:
    blurred, sharp = blurred_and_sharp(shape)
    restored = deblur(blurred, MODEL, psf_field=field_of(shape))
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert psnr(sharp, restored) > psnr(sharp, blurred) + 1


@pytest.mark.parametrize("kind", ["PSF field", "its file", "lens", "its file of a lens"])
def test_the_blur_is_given_as_psf_field_or_lens(kind: str, tmp_path: Path) -> None:
    blurred, _ = blurred_and_sharp((40, 48))
    psf_field = field_of((40, 48))
    psf_field.save(tmp_path / "lens.psf.tif")
    save_lens(LENS, tmp_path / "lens.yaml")
    blurs: dict[str, PSFField | Lens | GaussianLens | Path | str] = {
        "PSF field": psf_field,
        "its file": tmp_path / "lens.psf.tif",
        "lens": LENS,
        "its file of a lens": str(tmp_path / "lens.yaml"),
    }
    result = deblur(blurred, MODEL, psf_field=blurs[kind])
    expected = deblur(blurred, MODEL, psf_field=psf_field)
    np.testing.assert_allclose(result, expected, atol=1e-3 * np.ptp(expected))


def test_a_model_is_given_as_such_by_its_file_or_in_the_settings(tmp_path: Path) -> None:
    path, psf_field = tmp_path / "own.safetensors", field_of((40, 48))
    MODEL.save(path)
    blurred, _ = blurred_and_sharp((40, 48))
    expected = deblur(blurred, MODEL, psf_field=psf_field)
    np.testing.assert_array_equal(deblur(blurred, path, psf_field=psf_field), expected)
    config = DeblurConfig(deconvolution=UniversalConfig(weights=path))
    np.testing.assert_array_equal(deblur(blurred, psf_field, config=config), expected)
    by_name = deblur(blurred, "universal", psf_field=psf_field, config=config)
    np.testing.assert_array_equal(by_name, expected)


def test_a_window_of_the_frame_is_deblurred_at_its_origin() -> None:
    """Inside, it is the same part of the whole frame; at the border, less is known."""
    blurred, _ = blurred_and_sharp((96, 96))
    psf_field, camera = field_of((96, 96)), Camera(electrons_per_count=0.5, read_noise=2)
    whole = deblur(blurred, MODEL, psf_field=psf_field, camera=camera)
    part = deblur(blurred[32:, 16:], MODEL, psf_field=psf_field, camera=camera, origin=(32, 16))
    inside = np.s_[24:-24, 24:-24]
    error = np.abs(part - whole[32:, 16:])[inside]
    assert error.max() < 0.02 * np.ptp(whole)


def test_tiled_equals_whole_up_to_a_hundredth() -> None:
    """Of the range of the image: noise that far away has no effect that can be seen."""
    blurred, _ = blurred_and_sharp((130, 150))
    psf_field = field_of((130, 150))
    whole = deblur(blurred, MODEL, psf_field=psf_field)
    tiled = deblur(blurred, MODEL, psf_field=psf_field, runtime=DeblurRuntime(tile=120))
    assert np.abs(tiled - whole).max() < 0.01 * np.ptp(whole)


def test_noise_is_estimated_about_as_it_is() -> None:
    blurred, sharp = blurred_and_sharp((128, 128))
    psf_field = field_of((128, 128))
    camera = Camera(electrons_per_count=0.5, read_noise=2)
    given = deblur(blurred, MODEL, psf_field=psf_field, camera=camera)
    estimated = deblur(blurred, MODEL, psf_field=psf_field)
    assert psnr(sharp, estimated) == pytest.approx(psnr(sharp, given), abs=0.5)


def test_planes_of_a_stack_are_deblurred_singly() -> None:
    blurred, _ = blurred_and_sharp((40, 48))
    stack, psf_field = np.stack([blurred, 3 * blurred[::-1]]), field_of((40, 48))
    for plane, single in zip(deblur(stack, MODEL, psf_field=psf_field), stack, strict=True):
        np.testing.assert_array_equal(plane, deblur(single, MODEL, psf_field=psf_field))


def test_the_result_has_the_units_of_the_image() -> None:
    """Another gain and offset of the camera give the same image in other numbers."""
    blurred, _ = blurred_and_sharp((40, 48))
    psf_field = field_of((40, 48))
    result = deblur(blurred, MODEL, psf_field=psf_field)
    scaled = deblur(7 * blurred + 300, MODEL, psf_field=psf_field)
    np.testing.assert_allclose(scaled, 7 * result + 300, atol=0.02 * 7 * np.ptp(result))
    counts = np.round(blurred.clip(0)).astype(np.uint16)
    kept = deblur(counts, MODEL, psf_field=psf_field, config=DeblurConfig(keep_dtype=True))
    assert kept.dtype == np.uint16


def test_bad_pixels_are_refused() -> None:
    blurred, _ = blurred_and_sharp((40, 48))
    blurred[3, 5] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        deblur(blurred, MODEL, psf_field=field_of((40, 48)))


def test_a_window_needs_a_lens_that_knows_its_frame() -> None:
    blurred, _ = blurred_and_sharp((64, 64))
    part = blurred[16:, :48]
    with pytest.raises(SettingsError, match="give a PSF field"):
        deblur(part, MODEL, psf_field=LENS, origin=(16, 0))
    calibration = {"method": "beads", "frame_shape": (64, 64)}
    lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, calibration=calibration)
    whole = PSFField.from_lens(lens, (64, 64))
    np.testing.assert_array_equal(
        deblur(part, MODEL, psf_field=lens, origin=(16, 0)),
        deblur(part, MODEL, psf_field=whole, origin=(16, 0)),
    )
    with pytest.raises(FrameMismatchError, match="origin"):  # its frame is not this one
        deblur(part, MODEL, psf_field=lens)
    other, _ = blurred_and_sharp((64, 72))
    assert check(other, lens).lens_note.endswith("origin is not known.")


def test_what_does_not_go_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, psf_field = np.eye(40), field_of((40, 40))
    path, wiener = tmp_path / "own.safetensors", DeblurConfig(deconvolution="wiener")
    MODEL.save(path)
    one_lens: Model = random_model((40, 40))

    def message(kind: type[CoordGateError], *arguments: object, **options: object) -> str:
        with pytest.raises(kind) as caught:
            deblur(image, *arguments, **options)  # type: ignore[arg-type]
        return str(caught.value)

    assert "needs the blur of the lens" in message(SettingsError, "universal")
    assert "needs the blur of the lens" in message(SettingsError, MODEL)
    assert "needs a PSF field" in message(ModelError, path)
    assert "passed alone" in message(SettingsError, one_lens, psf_field=psf_field)
    assert "passed alone" in message(SettingsError, psf_field, psf_field=psf_field)
    text = message(SettingsError, MODEL, psf_field=psf_field, config=wiener)
    assert "settings are for wiener" in text
    assert "needs a PSF field" in message(SettingsError, one_lens, config=wiener)
    folder = "napari_coordgate.universal_model.sample_data_folder"
    monkeypatch.setattr(folder, lambda: tmp_path)
    assert "is missing; install" in message(ModelError, "universal", psf_field=psf_field)


def test_one_model_serves_two_lenses() -> None:
    """The weights know nothing of a lens: each image needs its own, and not another one."""
    blurred, sharp = blurred_and_sharp((64, 64), photons=5000)
    stronger = PSFField.from_lens(LENS.replace(sigma_edge_px=2.5), (64, 64))
    own = deblur(blurred, MODEL, psf_field=LENS)
    other = deblur(blurred, MODEL, psf_field=stronger)
    assert psnr(sharp, own) > psnr(sharp, other) + 1
