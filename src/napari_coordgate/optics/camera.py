"""Noise of the camera."""

import torch
from torch import Tensor

from napari_coordgate.config import Camera

__all__ = ["expose"]


def expose(image: Tensor, camera: Camera, seed: int) -> Tensor:
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
