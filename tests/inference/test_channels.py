"""Laws of deblurring several channels in one run, each with its own blur or model."""

from dataclasses import replace

import numpy as np
import pytest

from napari_coordgate.config import DeblurConfig, DeblurRuntime, Lens, Selection
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, Note
from napari_coordgate.inference import assess, deblur, selected_methods
from napari_coordgate.inference.channels import lens_at
from napari_coordgate.inference.mismatch import Mismatch
from napari_coordgate.io import Image
from napari_coordgate.io.optical_metadata import stated_optics
from napari_coordgate.optics import PSFField
from tests.inference.making import identity_model

LENS = Lens(na=0.3, wavelength_nm=520, pixel_size_um=1, field_curvature_um=2, coma_waves=0.1)
SHAPE = (48, 56)
CONFIG = DeblurConfig(deconvolution={"method": "richardson-lucy", "num_iter": 3})
RUNTIME = DeblurRuntime(check=False)


def two_channels(*wavelengths_nm: float) -> Image:
    pixels = np.random.default_rng(0).poisson(100, (2, 3, *SHAPE)).astype(np.float32)
    optics = stated_optics(wavelengths_nm=[(wave, "file") for wave in wavelengths_nm])
    return Image(pixels, "CZYX", channel_names=("DAPI", "Cy5"), optics=optics)


def field_at(wavelength_nm: float) -> PSFField:
    return PSFField.from_lens(lens_at(LENS, wavelength_nm), SHAPE)


def test_a_lens_has_psfs_for_the_wavelength_of_each_channel() -> None:
    image = two_channels(461, 670)
    result = deblur(image, LENS, config=CONFIG, runtime=RUNTIME)
    for channel, wave in enumerate((461, 670)):
        alone = deblur(image.data[channel, :1], field_at(wave), config=CONFIG, runtime=RUNTIME)
        np.testing.assert_allclose(result[channel, :1], alone, rtol=1e-5)
        assert not np.allclose(result[1 - channel, :1], alone, rtol=1e-3)


def test_each_channel_is_judged_with_its_own_blur() -> None:
    image = two_channels(461, 670)
    judged = assess(image, LENS, config=CONFIG)
    np.testing.assert_allclose(judged.image, deblur(image, LENS, config=CONFIG, runtime=RUNTIME))
    alone = assess(image.data[1, 2], field_at(670), config=CONFIG, runtime=RUNTIME)
    assert judged.contradiction_map is not None and alone.contradiction_map is not None
    np.testing.assert_allclose(judged.contradiction_map[1, 2], alone.contradiction_map, rtol=1e-3)
    subjects = [finding.subject for finding in judged.verdict.findings]
    assert len(subjects) == len(set(subjects))


def test_a_result_far_outside_the_range_of_the_image_makes_the_verdict_red(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_coordgate.io.processing.FAR", -0.4)  # so that any result is
    verdict = assess(two_channels(461, 670), LENS, config=CONFIG, runtime=RUNTIME).verdict
    assert (verdict.color, verdict.findings[0].subject) == ("red", "range")
    assert "far outside the range" in verdict.findings[0].message


def test_aberrations_are_lengths_at_another_wavelength() -> None:
    other = lens_at(LENS, 260)
    assert other.field_curvature_um == 2
    assert other.coma_waves == pytest.approx(0.2)


def test_each_named_channel_has_its_model() -> None:
    image, models = two_channels(), {"Cy5": field_at(670), "DAPI": field_at(461)}
    result = deblur(image, models, config=CONFIG, runtime=RUNTIME)
    for channel, name in enumerate(image.channel_names):
        only = image.select(Selection(channels=name))
        alone = deblur(only, {name: models[name]}, config=CONFIG, runtime=RUNTIME)
        np.testing.assert_array_equal(result[channel], alone[0])
    assert not np.allclose(result[0], deblur(image, models["Cy5"], config=CONFIG)[0], rtol=1e-3)
    with pytest.raises(SettingsError, match=r"no model or PSF field for channel DAPI; .*s Cy5"):
        deblur(image, {"Cy5": models["Cy5"]}, config=CONFIG)


def test_a_selected_channel_keeps_its_method_and_its_wavelength() -> None:
    image = two_channels(461, 670)
    for number, name in enumerate(image.channel_names):
        only = image.select(Selection(channels=name))
        alone = deblur(only, LENS, config=CONFIG, runtime=RUNTIME)
        np.testing.assert_array_equal(
            alone, deblur(image, LENS, config=CONFIG, runtime=RUNTIME)[number : number + 1]
        )
    models = {"0": "a", "Cy5": "b"}
    assert selected_methods(models, image, None) == models
    assert list(selected_methods(models, image, "1,0").values()) == ["b", "a"]
    assert selected_methods(models, image, "1") == {"0:1": "b"}
    with pytest.raises(SettingsError, match="no model or PSF field for channel Cy5"):
        selected_methods({"DAPI": "a"}, image, "Cy5")


def test_a_model_and_a_lens_deblur_their_channels_and_are_judged() -> None:
    image = two_channels(461, 670)
    model = identity_model(SHAPE)
    judged = assess(image, {"DAPI": model, "Cy5": LENS}, config=CONFIG, runtime=RUNTIME)
    plain = deblur(image.pixels[0], model, runtime=RUNTIME)
    np.testing.assert_allclose(judged.image[0], plain, rtol=1e-5)
    lens = deblur(image.pixels[1], LENS, config=CONFIG, runtime=RUNTIME)
    np.testing.assert_allclose(judged.image[1], lens, rtol=1e-5)
    assert judged.contradiction_map is not None
    assert judged.contradiction_map[1].any() and not judged.contradiction_map[0].any()


def test_one_blur_for_several_wavelengths_is_noted() -> None:
    for waves, is_noted in (((461, 670), True), ((520, 520), False)):
        events: list[Event] = []
        deblur(two_channels(*waves), field_at(520), config=CONFIG, callback=events.append)
        notes = [event.text for event in events if isinstance(event, Note)]
        assert any("channels of 461, 670 nm" in note for note in notes) is is_noted


def test_each_channel_is_checked_with_its_own_blur_even_if_names_are_other_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = []

    def record(image: Image, *_: object) -> Mismatch:
        checked.append(image.channel_names)
        return Mismatch()

    monkeypatch.setattr("napari_coordgate.inference.channels.find_mismatch", record)
    image = replace(two_channels(461, 670), channel_names=("1", "0"))
    deblur(image, LENS, config=CONFIG)
    assert checked == [("1",), ("0",)]

    def note(image: Image, *_: object) -> None:
        checked.append(image.channel_names)

    monkeypatch.setattr("napari_coordgate.inference.channels.check_image", note)
    assess(image, LENS, config=CONFIG)  # judges the check before deblurring, too
    assert checked[2:] == [("1",), ("0",)]
