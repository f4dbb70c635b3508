"""Lens of an image, as far as its file describes it."""

from collections.abc import Mapping
from typing import Any

from napari_coordgate.config import Lens
from napari_coordgate.errors import SettingsError
from napari_coordgate.io.image import Image
from napari_coordgate.io.optical_metadata import Stated

_WORDS = {
    "na": "NA",
    "wavelength_nm": "emission wavelength",
    "pixel_size_um": "pixel size",
    "refractive_index": "refractive index of the immersion medium",
}


def lens_from_metadata(image: Image, channel: int = 0) -> dict[str, Stated[float]]:
    """Values of a `Lens` that the file of an image states for a channel, and their sources.

    Parameters
    ----------
    image : Image
        The image, from `read_image`.
    channel : int
        Number of the channel, from 0.

    Returns
    -------
    dict of str to Stated
        Of na, wavelength_nm, pixel_size_um and refractive_index those that are stated.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate.io.optical_metadata import OpticalMetadata
    >>> optics = OpticalMetadata(na=Stated(0.8, "OME-XML Objective LensNA"))
    >>> image = Image(np.zeros((64, 48)), "YX", pixel_size_um=(0.325, 0.325), optics=optics)
    >>> for name, stated in lens_from_metadata(image).items():
    ...     print(name, stated.value, stated.source)
    na 0.8 OME-XML Objective LensNA
    pixel_size_um 0.325 pixel size of the image
    """
    optics = image.optics
    size = image.pixel_size_um
    values = {
        "na": optics.na,
        "wavelength_nm": optics.wavelength_nm(channel),
        "pixel_size_um": None if size is None else Stated(size[0], "pixel size of the image"),
        "refractive_index": optics.refractive_index,
    }
    return {name: stated for name, stated in values.items() if stated is not None}


def lens_of_image(image: Image, channel: int = 0) -> Lens:
    """Lens without aberrations, of the values that the file of an image states.

    Raises SettingsError that lists what the file does not state.
    """
    stated = lens_from_metadata(image, channel)
    needed = [name for name, field in Lens.model_fields.items() if field.is_required()]
    if "na" in stated and stated["na"].value >= 1:
        needed.append("refractive_index")
    if missing := [name for name in needed if name not in stated]:
        raise SettingsError(
            f"{image.name} does not state the {_listed([_WORDS[name] for name in missing])}; "
            f"give a lens file with {_listed(list(needed))}."
        )
    return Lens(**{name: value.value for name, value in stated.items()})


def calibration_facts(image: Image) -> dict[str, Any]:
    """Values of a `LensCalibration` that an image states: objective, camera and frame."""
    optics = image.optics
    return {
        "objective": optics.objective and optics.objective.value,
        "camera": optics.camera and optics.camera.value,
        "frame_shape": image.frame_shape,
    }


def describe_sources(stated: Mapping[str, Stated[float]]) -> str:
    """Line that says where each value came from."""
    return "; ".join(f"{name} {item.value:g} ({item.source})" for name, item in stated.items())


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
