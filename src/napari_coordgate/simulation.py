"""What a camera behind a lens would record of a sharp image."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, Scaling
from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.optics import PSFField

__all__ = ["add_camera_noise", "center_crop_window", "simulate"]


def center_crop_window(shape: tuple[int, int], frame_shape: tuple[int, int], name: str) -> Window:
    """Central part of an image that stands for the frame.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the image, in pixels.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    name : str
        What the image is called in an error.

    Returns
    -------
    Window
        The frame, in pixels of the image.

    Raises
    ------
    FrameMismatchError
        If the image is smaller than the frame.
    """
    if shape[0] < frame_shape[0] or shape[1] < frame_shape[1]:
        raise FrameMismatchError(
            f"{name} is {shape[0]}x{shape[1]} pixels, less than the frame of "
            f"{frame_shape[0]}x{frame_shape[1]}; make a PSF field for a smaller frame."
        )
    y0, x0 = ((n - frame_n) // 2 for n, frame_n in zip(shape, frame_shape, strict=True))
    return Window(y0, x0, *frame_shape)


def simulate(
    sharp: NDArray[Any],
    field: PSFField,
    camera: Camera,
    seed: int,
    *,
    scaling: Scaling | None = None,
    name: str = "The image",
) -> NDArray[np.float32]:
    """Image that the camera would record in place of a sharp one.

    Parameters
    ----------
    sharp : ndarray, shape (H, W)
        Sharp image, of the frame's size or larger. Of a larger one, the central
        part is recorded, and what surrounds it shines in; where the image ends,
        the scene is mirrored.
    field : PSFField
        The lens's blur.
    camera : Camera
        Noise; full brightness is the image's high percentile.
    seed : int
        Seed of the noise.
    scaling : Scaling, optional
        Percentiles that are no and full brightness; the lower one is taken for the
        camera's offset, which the lens does not blur.
    name : str
        What the image is called in an error.

    Returns
    -------
    ndarray of float32, shape of the frame
        Blurred and noisy image, in the units of ``sharp``.

    Raises
    ------
    ImageError
        If the image holds nothing to work with.
    FrameMismatchError
        If it is smaller than the frame.
    """
    brightness = fit_normalizer(sharp, scaling or Scaling(), name)
    window = center_crop_window((sharp.shape[0], sharp.shape[1]), field.frame_shape, name)
    scene = torch.from_numpy(brightness.normalize(sharp))
    blurred = field.blur(scene, origin=(-window.y0, -window.x0))
    return brightness.denormalize(add_camera_noise(blurred, camera, seed).numpy())


def add_camera_noise(image: Tensor, camera: Camera, seed: int) -> Tensor:
    """Image as a camera records it: Poisson noise of the light, Gaussian noise of the read-out.

    Parameters
    ----------
    image : Tensor
        Noise-free image of any shape; 1 is full brightness, at which a pixel
        collects ``camera.photons``. Light below 0 counts as none.
    camera : Camera
        Photon count and read noise; without a photon count the image is returned as it is.
    seed : int
        Seed; the same seed, image and kind of device give the same noise.

    Returns
    -------
    Tensor
        Recorded image, in the units of ``image``.
    """
    if camera.photons is None:
        return image
    generator = torch.Generator(image.device).manual_seed(seed)
    electrons = torch.poisson(image.clamp(min=0) * camera.photons, generator)
    if camera.read_noise:
        noise = torch.randn(
            image.shape, generator=generator, device=image.device, dtype=image.dtype
        )
        electrons = electrons + camera.read_noise * noise
    return electrons / camera.photons
