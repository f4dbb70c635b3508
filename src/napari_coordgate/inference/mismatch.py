"""Check of an image before it is deblurred, against the model or PSF field."""

from napari_coordgate.calibration.checking import check_window
from napari_coordgate.config import Camera, DeblurRuntime
from napari_coordgate.errors import LensMismatchError
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField


def find_mismatch(
    image: Image, method: Model | PSFField, camera: Camera, window: Window, runtime: DeblurRuntime
) -> str:
    """What contradicts the model or PSF field; LensMismatchError instead if strict.

    Empty if nothing does, or if the image is resampled, which changes blur and noise.
    """
    if not (runtime.check or runtime.strict) or image.frame_shape != window.shape:
        return ""
    result = check_window(image, method, camera, window)
    if result.verdict != "red":
        return ""
    message = f"{image.name}: {result.message}"
    if runtime.strict:
        raise LensMismatchError(
            f"{message} Measure the lens (calibrate), and use a model or PSF field for it."
        )
    return message
