"""Settings of classical deconvolution, which needs a PSF field and no training."""

from typing import Literal

from pydantic import Field

from napari_coordgate.config.base import DeviceConfig, Settings
from napari_coordgate.config.training import Camera

PSFMode = Literal["field", "mean"]


class WienerConfig(Settings):
    """Wiener deconvolution: the regularized inverse of the blur.

    Examples
    --------
    >>> WienerConfig(regularization=0.003).num_iter
    30
    """

    psf: PSFMode = Field(
        "field",
        description="PSF to use: that of each pixel (field), or the mean PSF for all pixels "
        "(mean).",
    )
    regularization: float = Field(
        0.01, gt=0, description="Ratio of noise power to signal power; larger values are smoother."
    )
    num_iter: int = Field(
        30,
        ge=1,
        description="Maximum number of conjugate gradient iterations; not used with the mean PSF.",
    )


class RichardsonLucyConfig(Settings):
    """Richardson-Lucy deconvolution: maximum likelihood under Poisson noise.

    Examples
    --------
    >>> RichardsonLucyConfig(num_iter=20, discrepancy=True).psf
    'field'
    """

    psf: PSFMode = Field(
        "field",
        description="PSF to use: that of each pixel (field), or the mean PSF for all pixels "
        "(mean).",
    )
    num_iter: int = Field(
        10,
        ge=1,
        description="Maximum number of iterations; each one sharpens the image and adds noise.",
    )
    total_variation: float = Field(
        0.0,
        ge=0,
        lt=0.25,
        description="Weight of the total variation penalty, which suppresses noise; 0 disables it.",
    )
    accelerate: bool = Field(
        True,
        description="Use fewer iterations by extrapolation (Biggs and Andrews, 1997).",
    )
    discrepancy: bool = Field(
        False,
        description="Stop when the residual is as small as the camera noise; needs photons.",
    )


class WienerSettings(WienerConfig, DeviceConfig):
    """Wiener deconvolution of a file, with the device."""


class RichardsonLucySettings(RichardsonLucyConfig, DeviceConfig):
    """Richardson-Lucy deconvolution of a file, with the camera and the device."""

    camera: Camera = Field(Camera(), description="Camera noise of the image.")
