"""Richardson-Lucy deconvolution: the likeliest image under Poisson noise."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, Device, RichardsonLucyConfig
from napari_coordgate.deconvolution.blur import Blur, checked, last, within_memory
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField

__all__ = ["richardson_lucy", "richardson_lucy_steps"]

DEFAULTS = RichardsonLucyConfig()
EPS = 1e-6
"""Brightness below which nothing is divided by."""
MIN_SENSITIVITY = 1e-2
"""Part of its light that a scene pixel sends to the image, below which it is left dark."""


def richardson_lucy(
    image: NDArray[Any],
    field: PSFField,
    config: RichardsonLucyConfig = DEFAULTS,
    *,
    camera: Camera | None = None,
    origin: tuple[int, int] = (0, 0),
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """Richardson-Lucy deconvolution of an image.

    With a blur H and an image y, each iteration raises the likelihood of the scene x
    under Poisson noise:

        x <- x H^T(y / H x) / (H^T 1 - v div(grad x / |grad x|)),

    with the weight v of the total variation. The scene reaches beyond the image as far
    as light comes from. Read noise of variance s^2 electrons is taken for as many photons
    more, in y and in H x (Snyder et al., 1993); for yet more where else a pixel would stay
    negative, since to cut noise off at 0 would add light.

    Parameters
    ----------
    image : ndarray, shape (h, w)
        Blurred image; dark is 0, and 1 the full brightness of the camera.
    field : PSFField
        The blur of the frame.
    config : RichardsonLucyConfig
        Iterations, and what else.
    camera : Camera, optional
        Noise of the image.
    origin : tuple of int
        Frame pixel of the image's first one.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    ndarray of float32, shape (h, w)
        Deconvolved image, nowhere negative.

    Raises
    ------
    SettingsError
        If it is to stop by the noise, and the camera's is not known.
    FrameMismatchError
        If the image reaches beyond the frame.
    ImageError
        If it is not of shape (h, w) and finite.
    DeviceMemoryError
        If the memory does not suffice.
    CanceledError
        If canceled.

    References
    ----------
    W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972). L. B. Lucy, Astron. J. 79, 745 (1974).
    D. S. C. Biggs and M. Andrews, Appl. Opt. 36, 1766 (1997): acceleration.
    N. Dey et al., Microsc. Res. Tech. 69, 260 (2006): total variation.
    M. Bertero and P. Boccacci, Astron. Astrophys. 437, 369 (2005): borders.
    D. L. Snyder, A. M. Hammoud and R. L. White, J. Opt. Soc. Am. A 10, 1014 (1993): read noise.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, richardson_lucy
    >>> field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> blurred = field.blur(np.eye(64))
    >>> bool((richardson_lucy(blurred, field) >= 0).all())
    True
    """
    pixels = checked(image)
    blur = Blur(field, config.psf, Window(*origin, *pixels.shape), device)
    steps = richardson_lucy_steps(pixels, blur, config, camera)
    return last(within_memory(steps, blur.image), cancel)


def richardson_lucy_steps(
    image: NDArray[np.float32], blur: Blur, config: RichardsonLucyConfig, camera: Camera | None
) -> Iterator[Tensor]:
    """Estimates (h, w) of `richardson_lucy`, one an iteration, the last of which is its result."""
    photons = None if camera is None else camera.photons
    read_noise = 0.0 if camera is None else camera.read_noise
    if config.discrepancy and photons is None:
        raise SettingsError(
            "Richardson-Lucy stops by the camera's noise only where that is known; give the "
            "photons in a pixel of full brightness, or leave out discrepancy."
        )
    dark = 0.0 if photons is None else read_noise**2 / photons
    offset = max(dark, -float(image.min()), EPS)
    observed = torch.from_numpy(image.copy()).to(blur.device).add_(offset)
    point = ResourceEstimate(blur.flat((observed.mean() - offset).clamp_min(EPS)))
    inverse = torch.where(blur.sensitivity > MIN_SENSITIVITY, blur.sensitivity.reciprocal(), 0)
    for _ in range(config.num_iter):
        expected = blur(point.scene).add_(offset).clamp_min_(EPS)
        if config.discrepancy and photons:
            variance = (expected + (dark - offset)).clamp_min_(EPS).div_(photons)
            if (observed - expected).square_().div_(variance).mean() <= 1:
                yield blur.seen(point.scene)
                return
        update = blur.transpose(torch.div(observed, expected, out=expected))
        if config.total_variation:
            smoothed = blur.sensitivity - config.total_variation * _curvature(point.scene)
            update = torch.where(inverse > 0, update / smoothed.clamp_min(MIN_SENSITIVITY), 0)
        else:
            update *= inverse
        point.move(update, accelerate=config.accelerate)
        yield blur.seen(point.latest)


class ResourceEstimate:
    """Scene by now, and where the next iteration starts from.

    Parameters
    ----------
    scene : Tensor, shape (H, W)
        Where the first iteration starts.
    """

    def __init__(self, scene: Tensor) -> None:
        self.scene = self.latest = scene
        self._step: Tensor | None = None

    def move(self, update: Tensor, *, accelerate: bool) -> None:
        """Multiply by an update, and extrapolate if wanted: two steps alike promise a third."""
        latest = update.mul_(self.scene).clamp_min_(0)
        if accelerate:
            step, before = (latest - self.scene).flatten(), self._step
            ahead = 0.0
            if before is not None:
                ahead = float((step @ before) / (before @ before).clamp_min(EPS**2))
            further = 1 + min(max(ahead, 0.0), 1.0)
            self.scene = torch.lerp(self.latest, latest, further).clamp_min_(0)
            self._step = step
        else:
            self.scene = latest
        self.latest = latest


def _curvature(scene: Tensor) -> Tensor:
    """Divergence of the direction in which a scene rises: negative on peaks."""
    down, right = (torch.diff(scene, dim=axis, append=scene.narrow(axis, -1, 1)) for axis in (0, 1))
    steepness = (down.square() + right.square() + EPS).sqrt()
    down, right = down / steepness, right / steepness
    rows = torch.diff(down, dim=0, prepend=torch.zeros_like(down[:1]))
    columns = torch.diff(right, dim=1, prepend=torch.zeros_like(right[:, :1]))
    return rows + columns
