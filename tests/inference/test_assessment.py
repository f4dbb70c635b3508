"""Laws of the assessment: the same image as `deblur`, maps in its units, and a verdict."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_coordgate import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    Image,
    Model,
    PSFField,
    TrustCalibration,
    UniversalModel,
    Window,
    assess,
    assess_events,
    deblur,
    simulate,
)
from napari_coordgate.data.procedural import RandomFields, filaments
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import run
from napari_coordgate.simulation import add_camera_noise
from tests.calibration.scenes import cells
from tests.inference.making import Pixels, identity_model, random_universal_model

SHAPE = (72, 80)
LENS = GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.4, pixel_size_um=0.5)
FIELD = PSFField.from_lens(LENS, SHAPE)
PLAIN = random_universal_model()
MODEL = replace(PLAIN, trust=TrustCalibration(error_factor=2.0))
CAMERA = Camera(photons=1000, read_noise=3)


def image_of(seed: int = 0) -> Pixels:
    scene = 500 * cells(np.random.default_rng(seed), 96, 30) + 100
    return simulate(scene, FIELD, CAMERA, seed)


def test_the_image_is_that_of_deblur() -> None:
    image = image_of()
    result = assess(image, MODEL, psf_field=FIELD)
    np.testing.assert_array_equal(result.image, deblur(image, MODEL, psf_field=FIELD))
    for values in (result.error_map, result.contradiction_map, result.detail_um):
        assert values is not None
        assert values.shape == image.shape
        assert np.isfinite(values).all()
        assert values.min() >= 0


def test_the_error_has_the_units_of_the_image_and_the_factor_of_the_model() -> None:
    image = image_of()
    plain = assess(image, PLAIN, psf_field=FIELD, camera=CAMERA)
    calibrated = assess(7 * image + 300, MODEL, psf_field=FIELD, camera=CAMERA)
    assert plain.error_map is not None and calibrated.error_map is not None
    np.testing.assert_allclose(calibrated.error_map, 14 * plain.error_map, rtol=1e-2)
    assert any("not calibrated" in note for note in plain.verdict.notes)


def test_planes_of_a_stack_are_assessed_singly() -> None:
    stack = np.stack([image_of(0), 3 * image_of(1)])
    both = assess(stack, MODEL, psf_field=FIELD)
    for number, plane in enumerate(stack):
        one = assess(plane, MODEL, psf_field=FIELD)
        for name in ("image", "error_map", "contradiction_map", "detail_um"):
            np.testing.assert_array_equal(getattr(both, name)[number], getattr(one, name))


def test_other_methods_predict_no_error_and_say_so() -> None:
    result = assess(image_of(), "richardson-lucy", psf_field=FIELD)
    assert result.error_map is None and result.contradiction_map is not None
    assert any("error was not predicted" in note for note in result.verdict.notes)


def test_a_model_without_its_blur_is_not_compared() -> None:
    result = assess(image_of(), identity_model(SHAPE))
    assert result.contradiction_map is None and result.detail_um is None
    assert any("does not state the blur" in note for note in result.verdict.notes)


def test_a_resampled_image_is_not_compared() -> None:
    image = np.kron(image_of(), np.ones((2, 2)))
    with pytest.warns(UserWarning, match="resampled"):
        result = assess(
            Image(image, "YX"), MODEL, psf_field=FIELD, config=DeblurConfig(whole_frame=True)
        )
    assert result.contradiction_map is None
    assert result.error_map is not None
    assert result.error_map.shape == image.shape


def test_noise_that_is_not_that_of_the_camera_is_red() -> None:
    runtime = DeblurRuntime(check=False)
    strict = replace(PLAIN, trust=TrustCalibration(tolerance=0.005))
    camera = CAMERA.replace(photons=20_000.0)
    verdict = assess(image_of(), strict, psf_field=FIELD, camera=camera, runtime=runtime).verdict
    assert ("contradiction", "red") in [finding[:2] for finding in verdict.findings]
    assert verdict.color == "red"


def test_filaments_contradict_what_a_network_of_nuclei_makes_of_them() -> None:
    model = Model.load("sample_data/starter.safetensors")
    assert model.psf_field is not None
    margin, window = 30, Window(0, 0, 96, 96)
    scene = filaments(RandomFields(np.random.default_rng(3), 96 + 2 * margin))
    image = model.psf_field.blur(scene, origin=(-margin, -margin), window=window)
    colors = []
    for camera in (model.config.camera, Camera(photons=100)):
        noisy = add_camera_noise(torch.as_tensor(image), camera, 0).numpy()
        result = assess(noisy, model, origin=window.origin, runtime=DeblurRuntime(check=False))
        colors.append(result.verdict.color)
    assert colors[0] != "green"
    assert colors[1] == "red"  # not the noise that the network was trained for


def test_arrays_are_filled_and_integers_kept() -> None:
    image = np.round(image_of()).astype(np.uint16)
    out, made = np.zeros(SHAPE, np.uint16), {}

    def create(name: str) -> Pixels:
        made[name] = np.zeros(SHAPE, np.float32)
        return made[name]

    events = assess_events(
        image,
        MODEL,
        psf_field=FIELD,
        config=DeblurConfig(keep_dtype=True),
        out=out,
        create_map=create,
    )
    result = run(events)
    assert result.image is out and out.any()
    assert result.detail_um is made["detail_um"] and made["detail_um"].any()


def test_it_can_be_canceled() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        assess(np.stack([image_of()] * 2), MODEL, psf_field=FIELD, cancel=cancel)


def test_a_calibration_is_saved_with_the_model(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "model.safetensors")
    assert UniversalModel.load(tmp_path / "model.safetensors").trust == MODEL.trust
    PLAIN.save(tmp_path / "plain.safetensors")
    assert UniversalModel.load(tmp_path / "plain.safetensors").trust is None
