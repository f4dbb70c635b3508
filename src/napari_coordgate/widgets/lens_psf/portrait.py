"""How a lens would blur: computed in the background while its description changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.events import Event, Finished
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFGrid

__all__ = ["AnyLens", "BlurredImage", "Portrait", "PortraitRequest"]

AnyLens = Lens | GaussianLens
BLUR_TOLERANCE = 0.03
"""Relative error of the blur that is shown; the eye sees none of it."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A lens at a glance.

    Attributes
    ----------
    grid : PSFGrid
        PSFs over the frame.
    montage : ndarray of float32, shape of the frame
        Them, each at its place.
    lens : Lens or GaussianLens
        The lens.
    origin : tuple of int
        Pixel (y, x) of the image, if there is one, at which the frame begins.
    """

    grid: "PSFGrid"
    montage: NDArray[np.float32]
    lens: AnyLens
    origin: tuple[int, int]


@dataclass(frozen=True, eq=False)
class BlurredImage:
    """An image as the lens would blur it.

    Attributes
    ----------
    pixels : ndarray of float32, shape of the frame
        Blurred image, in its own units.
    origin : tuple of int
        Pixel (y, x) of the sharp image at which the frame begins.
    """

    pixels: NDArray[np.float32]
    origin: tuple[int, int]


@dataclass(frozen=True, eq=False)
class PortraitRequest:
    """A lens, the frame behind it, and perhaps an image to blur.

    Attributes
    ----------
    lens : Lens or GaussianLens
        The lens.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    pixels : array or None
        Image (..., H, W) of the frame's size or larger, as lazy as its layer.
    plane : tuple of int
        Which plane of it to blur.
    name : str
        What errors call it.
    """

    lens: AnyLens
    frame_shape: tuple[int, int]
    pixels: Any = None
    plane: tuple[int, ...] = ()
    name: str = ""

    def events(self, job: Job) -> Iterator[Event | Portrait | BlurredImage]:
        """Portrait first, then the blurred image; for the background thread."""
        from napari_coordgate.optics import PSFField, PSFGrid  # bring in torch
        from napari_coordgate.simulation import center_crop_window

        origin, sharp, note = (0, 0), None, ""
        if self.pixels is not None:
            sharp = np.asarray(self.pixels[self.plane], np.float32)
            try:
                origin = center_crop_window(sharp.shape, self.frame_shape, self.name).origin
            except FrameMismatchError as error:
                sharp, note = None, str(error)
        grid = PSFGrid.from_lens(self.lens, self.frame_shape)
        yield Portrait(grid, grid.montage(), self.lens, origin)
        if sharp is not None:
            field = PSFField.from_lens(
                self.lens, self.frame_shape, BLUR_TOLERANCE, cancel=job.cancel_requested
            )
            before = -origin[0], -origin[1]
            yield BlurredImage(field.blur(sharp, origin=before), origin)
        yield Finished("completed", note)
