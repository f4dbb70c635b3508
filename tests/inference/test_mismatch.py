"""Images that contradict a model or PSF field are named, or refused."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate import (
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    LensMismatchError,
    LensMismatchWarning,
    Note,
    PSFField,
    deblur,
)
from tests.calibration.scenes import LENS, cells, photographed, texture

FRAME = (256, 256)
QUICK = DeblurConfig(deconvolution={"method": "richardson-lucy", "num_iter": 1})


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    """Two planes of a lens with a field curvature of 4 um."""
    rng = np.random.default_rng(7)
    scenes = [texture(rng, 320), cells(rng, 320)]
    return photographed(scenes, LENS.replace(field_curvature_um=4.0))


@pytest.fixture(scope="module")
def wrong() -> PSFField:
    return PSFField.from_lens(LENS.replace(field_curvature_um=9.0), FRAME, tolerance=3e-2)


def test_warns_of_a_lens_that_sharpens_too_much(
    image: NDArray[np.float32], wrong: PSFField
) -> None:
    with pytest.warns(LensMismatchWarning, match="over-sharpened"):
        result = deblur(image, wrong, config=QUICK)
    assert result.shape == image.shape


def test_strict_refuses_before_any_work(image: NDArray[np.float32], wrong: PSFField) -> None:
    events: list[object] = []
    with pytest.raises(LensMismatchError, match=r"9\.0"):
        deblur(
            image, wrong, config=QUICK, runtime=DeblurRuntime(strict=True), callback=events.append
        )
    assert events == []


def test_the_check_can_be_switched_off(image: NDArray[np.float32], wrong: PSFField) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deblur(image, wrong, config=QUICK, runtime=DeblurRuntime(check=False))


def test_is_silent_where_image_and_lens_agree(image: NDArray[np.float32]) -> None:
    right = PSFField.from_lens(LENS.replace(field_curvature_um=4.0), FRAME, tolerance=3e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deblur(image, right, config=QUICK, runtime=DeblurRuntime(strict=True))


def test_says_why_a_lens_was_not_checked(image: NDArray[np.float32]) -> None:
    """A note does not fail strict runs: nothing contradicts the lens."""
    gaussian, measured = (PSFField.from_lens(GaussianLens(), FRAME) for _ in range(2))
    measured.source = {"psfs": 9}
    strict = DeblurRuntime(strict=True)
    for psf_field, reason in ((gaussian, "Gaussian"), (measured, "measured PSFs")):
        events: list[object] = []
        deblur(image[0], psf_field, config=QUICK, runtime=strict, callback=events.append)
        notes = [event.text for event in events if isinstance(event, Note)]
        (note,) = (text for text in notes if text.startswith("The lens was not checked"))
        assert reason in note
