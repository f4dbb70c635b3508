"""What to measure a lens and a camera from: a snapshot of layers for the background thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
class MeasureRequest:
    """Images to measure a lens from, and what is known of the lens.

    ``beads`` are the positions (N, 2) of the beads to use, or None to detect them; ``z_um`` is the
    distance of planes.
    """

    source: str
    images: tuple[Image, ...]
    lens: Lens
    diameter_um: float = 0.0
    z_um: float | None = None
    beads: NDArray[np.float64] | None = None
    camera: Camera | None = None

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
