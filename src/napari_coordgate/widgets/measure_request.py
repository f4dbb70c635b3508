"""What to measure a lens and a camera from: a snapshot of layers for the background thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from numpy.typing import NDArray

from napari_coordgate.config import Camera, Lens
from napari_coordgate.events import Event
from napari_coordgate.io import Image
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers import guess_axes, image_of

if TYPE_CHECKING:
    from napari_coordgate.calibration import Beads, LensFit, NoiseEstimate

BEADS, IMAGES, FOCUS = "Beads", "Images of a specimen", "Focus series"
"""What a lens is measured from."""


@dataclass(frozen=True, eq=False)
class FlatField:
    """Gain of each pixel (..., H, W), or an image of a uniform sample if there is an offset."""

    name: str
    pixels: Any
    offset: float | None = None

    def gain(self) -> NDArray[np.float64]:
        """Gain (H, W) of each pixel; takes a moment for an image of a uniform sample."""
        from napari_coordgate.calibration import estimate_flat_field  # imports torch

        pixels = np.asarray(self.pixels, np.float64)
        planes = pixels.reshape(-1, *pixels.shape[-2:])
        if self.offset is None:
            mean: NDArray[np.float64] = planes.mean(axis=0)
            return mean
        image = Image(planes, "TYX", title=self.name)
        return estimate_flat_field(image, offset=self.offset, uniform=True).astype(np.float64)


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """Images to measure a lens from, and what is known of the lens.

    ``beads`` are the positions (N, 2) of the beads to use, or None to detect them; ``z_um`` is the
    distance of planes. Only beads take the flat field into account.
    """

    source: str
    images: tuple[Image, ...]
    lens: Lens
    diameter_um: float = 0.0
    z_um: float | None = None
    beads: NDArray[np.float64] | None = None
    camera: Camera | None = None
    flat_field: FlatField | None = None

    def events(self, job: Job) -> Generator[Event, None, LensFit]:
        """Events of the fit, for the background thread."""
        from napari_coordgate.calibration import (  # imports torch
            calibrate_beads_events,
            calibrate_focus_events,
            calibrate_images_events,
        )

        cancel = job.cancel_requested
        if self.source == IMAGES:
            return (
                yield from calibrate_images_events(
                    self.images, self.lens, camera=self.camera, cancel=cancel
                )
            )
        (image,) = self.images
        if self.source == FOCUS:
            return (
                yield from calibrate_focus_events(image, self.lens, z_um=self.z_um, cancel=cancel)
            )
        return (
            yield from calibrate_beads_events(
                image,
                self.lens,
                bead_diameter_um=self.diameter_um,
                z_um=self.z_um,
                flat_field=None if self.flat_field is None else self.flat_field.gain(),
                beads=self.beads,
                cancel=cancel,
            )
        )

    def detect(self, job: Job) -> Beads:
        """Detect beads, in the background thread."""
        from napari_coordgate.calibration import detect_beads

        return detect_beads(
            self.images[0],
            self.lens,
            bead_diameter_um=self.diameter_um,
            cancel=job.cancel_requested,
        )


@dataclass(frozen=True, eq=False)
class NoiseRequest:
    """Images to measure the camera noise from."""

    images: tuple[Image, ...]

    def events(self, job: Job) -> Generator[Event, None, NoiseEstimate]:
        """Events of the measurement, for the background thread."""
        from napari_coordgate.calibration import estimate_noise_events  # imports torch

        return estimate_noise_events(self.images, cancel=job.cancel_requested)


def separate_images(layer: ImageLayer) -> Image:
    """Layer as one image, or as a series of separate ones."""
    image = image_of(layer)
    labels = {str(label).lower() for label in layer.axis_labels}
    if guess_axes(layer) == "ZYX" and not labels & {"z", "depth"}:
        return replace(image, axes="TYX")
    return image


def z_step_um(layer: ImageLayer) -> float | None:
    """Distance of the planes of a stack, where the layer states it."""
    unit = layer.units[-3]
    if "[length]" not in unit.dimensionality:
        return None
    return float((layer.scale[-3] * unit).to("micrometer").magnitude)
