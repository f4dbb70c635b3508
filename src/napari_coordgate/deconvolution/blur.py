"""The blur as an operator from the scene, which goes on beyond the image, to the image."""

import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Device, PSFMode
from napari_coordgate.devices import is_out_of_memory, resolve_device
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchError, ImageError
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField

__all__ = ["Blur", "checked", "last", "within_memory"]


class Blur:
    """Blur H of all of the scene whose light reaches an image, and its exact transpose.

    What lies beyond the image's border is estimated with the rest, for its light shines
    in: a border that is neither mirrored nor dark does not ring (Bertero and Boccacci,
    Astronomy & Astrophysics 437, 369, 2005).

    Parameters
    ----------
    field : PSFField
        The blur of the frame.
    psf : {"field", "mean"}
        Each pixel's own PSF, or the mean PSF for all.
    image : Window
        Where in the frame the image lies.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.

    Raises
    ------
    FrameMismatchError
        If the image reaches beyond the frame.
    """

    def __init__(
        self, field: PSFField, psf: PSFMode, image: Window, device: Device = "auto"
    ) -> None:
        if not Window.whole(field.frame_shape).contains(image):
            height, width = field.frame_shape
            raise FrameMismatchError(
                f"An image that shows {image} is no part of the PSF field's frame of "
                f"{height}x{width} pixels; name where it begins, or make a PSF field for it."
            )
        mean = field.kernels[:1], field.coefficients[:1], field.frame_shape
        self.field = PSFField(*mean) if psf == "mean" else field
        self.image = image
        self.scene = self.field.input_window(image)
        self.device = resolve_device(device)

    def __call__(self, scene: Tensor) -> Tensor:
        """Image (h, w) of a scene (H, W)."""
        return self.field.blur(scene, origin=self.scene.origin, window=self.image)

    def transpose(self, image: Tensor) -> Tensor:
        """Light of an image (h, w) gathered back to the scene (H, W)."""
        return self.field.adjoint(
            image,
            origin=self.scene.origin,
            window=self.image,
            scene_shape=self.scene.shape,
        )

    @cached_property
    def sensitivity(self) -> Tensor:
        """Part of its light that each scene pixel sends to the image, H^T 1; shape (H, W)."""
        return self.transpose(torch.ones(self.image.shape, device=self.device))

    def flat(self, brightness: Tensor) -> Tensor:
        """Scene of one brightness."""
        return torch.ones(self.scene.shape, device=brightness.device) * brightness

    def seen(self, scene: Tensor) -> Tensor:
        """Part of a scene that the image shows."""
        return scene[..., *self.image.within(self.scene)]


def checked(image: NDArray[Any]) -> NDArray[np.float32]:
    """Image (h, w) of finite pixels in single precision.

    Raises
    ------
    ImageError
        If it is none.
    """
    pixels = np.asarray(image, np.float32)
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
        raise ImageError(
            f"An array of shape {pixels.shape} that may hold NaN or infinite pixels cannot be "
            "deconvolved; give one of shape (h, w) and finite."
        )
    return pixels


def within_memory(estimates: Iterable[Tensor], image: Window) -> Iterator[Tensor]:
    """Pass estimates on.

    Raises
    ------
    DeviceMemoryError
        If the memory does not suffice.
    """
    try:
        yield from estimates
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"The memory does not suffice to deconvolve {image.height}x{image.width} pixels; "
            "deconvolve windows of the image, or choose a device with more."
        ) from None


def last(estimates: Iterable[Tensor], cancel: threading.Event | None) -> NDArray[np.float32]:
    """Last of some estimates (h, w), as an array.

    Raises
    ------
    CanceledError
        If it was canceled before.
    """
    latest = torch.empty(0)
    for estimate in estimates:
        raise_if_canceled(cancel, "Stopped while deconvolving.")
        latest = estimate
    restored: NDArray[np.float32] = latest.cpu().numpy()
    return restored
