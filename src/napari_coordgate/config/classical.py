"""Classical deconvolution, which needs a PSF field and no training."""

from typing import Literal

from pydantic import Field

from napari_coordgate.config.base import Device, Settings
from napari_coordgate.config.training import Camera

__all__ = [
    "PSFMode",
    "RichardsonLucyConfig",
    "RichardsonLucyRun",
    "WienerConfig",
    "WienerRun",
]

PSFMode = Literal["field", "mean"]


class WienerConfig(Settings):
    """Wiener deconvolution: the regularized inverse of the blur."""

    psf: PSFMode = Field("field", description="Each pixel's own PSF, or the mean PSF for all.")
    regularization: float = Field(
        0.01, gt=0, description="Noise over signal power; more is smoother."
    )
    iterations: int = Field(
        30, ge=1, description="Most conjugate gradient steps; the mean PSF needs none."
    )


class RichardsonLucyConfig(Settings):
    """Richardson-Lucy deconvolution: the likeliest image under Poisson noise."""

    psf: PSFMode = Field("field", description="Each pixel's own PSF, or the mean PSF for all.")
    iterations: int = Field(
        10, ge=1, description="Most iterations; each sharpens the image, and in time its noise."
    )
    total_variation: float = Field(
        0.0, ge=0, lt=0.25, description="Weight of the total variation, which calms noise; 0: none."
    )
    accelerate: bool = Field(
        True, description="Extrapolate each step from the two before it (Biggs and Andrews, 1997)."
    )
    discrepancy: bool = Field(
        False, description="Stop once the residual is as small as the camera's noise lets it be."
    )


class WienerRun(WienerConfig):
    """Wiener deconvolution of a file."""

    device: Device = Field("auto", description="Where to compute.")


class RichardsonLucyRun(RichardsonLucyConfig):
    """Richardson-Lucy deconvolution of a file."""

    camera: Camera = Field(Camera(), description="Noise of the image.")
    device: Device = Field("auto", description="Where to compute.")
