"""Check of an image before it is deblurred, against the model or PSF field."""

from dataclasses import replace
from typing import NamedTuple

from napari_coordgate.calibration.checking import Check, check_window
from napari_coordgate.config import Camera, DeblurRuntime
from napari_coordgate.errors import LensMismatchError
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

_RESAMPLED = (
    "The lens was not checked: the image is resampled to the frame, which changes its blur."
)


class Mismatch(NamedTuple):
    """What contradicts a model or PSF field, and why the lens was not checked; empty if nothing."""

    message: str = ""
    note: str = ""


def check_image(
    image: Image, method: Model | PSFField, camera: Camera, window: Window, runtime: DeblurRuntime
) -> Check | None:
    """Check of noise and lens of an image; None if it is turned off.

    Images that are resampled are not checked, because that changes blur and noise.
    """
    if not (runtime.check or runtime.strict):
        return None
    if image.frame_shape != window.shape:
        return Check((), (_RESAMPLED,))
    return check_window(image, method, camera, window)


def find_mismatch(
    image: Image, method: Model | PSFField, camera: Camera, window: Window, runtime: DeblurRuntime
) -> Mismatch:
    """What contradicts the model or PSF field; LensMismatchError instead if strict."""
    result = check_image(image, method, camera, window, runtime)
    if result is None:
        return Mismatch()
    if not runtime.strict:  # the alignment has warned of another pixel size
        known = tuple(found for found in result.findings if found.subject != "pixel size")
        result = replace(result, findings=known)
    if result.verdict != "red":
        return Mismatch(note=result.lens_note)
    message = f"{image.name}: {result.message}"
    if runtime.strict:
        raise strict_error(message)
    return Mismatch(message, result.lens_note)


def strict_error(message: str) -> LensMismatchError:
    """Error that refuses an image because of what contradicts the lens."""
    return LensMismatchError(
        f"{message} Measure the lens (calibrate), and use a model or PSF field for it."
    )
