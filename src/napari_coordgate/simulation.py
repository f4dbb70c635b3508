"""Simulated images: what a camera records of a sharp scene through a lens."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import Camera, Scaling
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.geometry import Window, format_shape
from napari_coordgate.io import Image, as_image
from napari_coordgate.normalization import above_offset, fit_normalizer
from napari_coordgate.optics import PSFField, as_psf_field

NO_NOISE = Camera()


def center_crop_window(shape: tuple[int, int], frame_shape: tuple[int, int], name: str) -> Window:
    """Window of the frame at the center of an image; FrameMismatchError if the image is smaller."""
    if shape[0] < frame_shape[0] or shape[1] < frame_shape[1]:
        raise FrameMismatchError(
            f"{name} is {format_shape(shape)} pixels, smaller than the frame of "
            f"{format_shape(frame_shape)}; create a PSF field for a smaller frame."
        )
    y0, x0 = ((n - frame_n) // 2 for n, frame_n in zip(shape, frame_shape, strict=True))
    return Window(y0, x0, *frame_shape)


def simulate(
    sharp: PixelArray | Image,
    psf_field: PSFField | str | Path,
    camera: Camera = NO_NOISE,
    rng: int | np.random.Generator | None = None,
    *,
    scaling: Scaling | None = None,
    name: str | None = None,
) -> NDArray[np.float32]:
    """Simulate the blurred and noisy image that a camera records of a sharp scene.

    Parameters
    ----------
    sharp : Image or ndarray, shape (H, W)
        Sharp image, at least as large as the frame, which is at its center. The pixels
        around the frame contribute light; beyond the image the scene is mirrored.
    psf_field : PSFField, str or Path
        Blur of the lens, or the file of it.
    camera : Camera
        Noise of the camera; the default adds none. A pixel of full brightness (the high
        percentile of the image) collects ``camera.photons``; by default, as many as its counts
        and ``camera.electrons_per_count`` give.
    rng : int, numpy.random.Generator or None
        Seed or generator of the noise; None for different noise each time.
    scaling : Scaling, optional
        Percentiles that correspond to zero and full brightness. The lower one is the
        camera's offset, which is not blurred.
    name : str, optional
        Name of the image in error messages; default: that of the `Image`.

    Returns
    -------
    ndarray of float32, shape of the frame
        Blurred and noisy image, in the units of ``sharp``.

    Raises
    ------
    FrameMismatchError
        If the image is smaller than the frame.
    ImageError
        If the image is not two-dimensional, has only one intensity, or contains NaN.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing Spatially-Varying
    Convolutions in Convolutional Neural Networks", Eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import Camera, GaussianLens, PSFField, simulate
    >>> psf_field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> blurred = simulate(100 * np.eye(64), psf_field, Camera(photons=500), rng=0)
    >>> blurred.shape, blurred.dtype
    ((64, 64), dtype('float32'))
    """
    psf_field = as_psf_field(psf_field)
    image = as_image(sharp)
    name = name or image.name
    if image.data.ndim != 2:
        raise ImageError(f"{name} must have shape (H, W), got {image.data.shape}.")
    sharp = image.pixels
    normalizer = fit_normalizer(sharp, scaling or Scaling(), name)
    if psf_field.flat_field is not None:
        normalizer = above_offset(normalizer, camera)
    height, width = sharp.shape
    window = center_crop_window((height, width), psf_field.frame_shape, name)
    scene = torch.from_numpy(normalizer.normalize(sharp))
    blurred = psf_field.blur(scene, origin=(-window.y0, -window.x0))
    if isinstance(rng, int | np.integer):
        seed = int(rng)
    else:
        seed = int(np.random.default_rng(rng).integers(2**62))
    camera = camera.for_range(*normalizer)
    return normalizer.denormalize(add_camera_noise(blurred, camera, seed).numpy())


def add_camera_noise(image: Tensor, camera: Camera, seed: int) -> Tensor:
    """Image with Poisson shot noise and Gaussian read noise; unchanged without a photon count.

    A pixel of value 1 collects ``camera.photons``, one below 0 none. Equal seeds give equal noise
    on devices of one type.
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
