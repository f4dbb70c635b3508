"""Check of an image before it is deblurred, against the model or PSF field."""

from typing import NamedTuple

from napari_coordgate.calibration.checking import check_window
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


def find_mismatch(
    image: Image, method: Model | PSFField, camera: Camera, window: Window, runtime: DeblurRuntime
) -> Mismatch:
    """What contradicts the model or PSF field; LensMismatchError instead if strict.

    Images that are resampled are not checked, because that changes blur and noise.
    """
    if not (runtime.check or runtime.strict):
        return Mismatch()
    if image.frame_shape != window.shape:
        return Mismatch(note=_RESAMPLED)
    result = check_window(image, method, camera, window)
    if result.verdict != "red":
        return Mismatch(note=result.lens_note)
    message = f"{image.name}: {result.message}"
    if runtime.strict:
        raise LensMismatchError(
            f"{message} Measure the lens (calibrate), and use a model or PSF field for it."
        )
    return Mismatch(message, result.lens_note)
