"""Settings of classical deconvolution, which needs a PSF field and no training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from napari_coordgate.config.base import DeviceConfig, Settings
from napari_coordgate.config.training import Camera
from napari_coordgate.errors import SettingsError

PSFMode = Literal["field", "mean"]

METHODS = RICHARDSON_LUCY, WIENER, UNIVERSAL = "richardson-lucy", "wiener", "universal"
METHOD_DESCRIPTION = "Method of deconvolution with a PSF field."


class WienerConfig(Settings):
    """Wiener deconvolution: the regularized inverse of the blur.

    Examples
    --------
    >>> WienerConfig(regularization=0.003).num_iter
    30
    """

    method: Literal["wiener"] = Field("wiener", description=METHOD_DESCRIPTION)
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

    method: Literal["richardson-lucy"] = Field("richardson-lucy", description=METHOD_DESCRIPTION)
    psf: PSFMode = Field(
        "field",
        description="PSF to use: that of each pixel (field), or the mean PSF for all pixels "
        "(mean).",
    )
    num_iter: int = Field(
        40,
        ge=1,
        description="Maximum number of iterations; each one sharpens the image and takes time.",
    )
    total_variation: float | None = Field(
        None,
        ge=0,
        lt=0.25,
        description="Weight of the total variation penalty, which suppresses noise; 0 disables it; "
        "default: by the noise (measured in the image where the camera is unknown).",
    )
    accelerate: bool = Field(
        True,
        description="Use fewer iterations by extrapolation (Nesterov, 1983).",
    )
    discrepancy: bool = Field(
        False,
        description="Stop when the residual is as small as the camera noise, which must be known.",
    )

    def check_camera(self, camera: Camera | None) -> None:
        """Raise `SettingsError` if the camera noise is needed but unknown."""
        if self.discrepancy and (
            camera is None or (camera.photons is None and camera.electrons_per_count is None)
        ):
            raise SettingsError(
                "Richardson-Lucy can only stop by discrepancy if the camera noise is known; give "
                "the camera's photons or electrons per count, or turn discrepancy off."
            )


class UniversalConfig(Settings):
    """Deconvolution by a network that was trained on many lenses.

    Examples
    --------
    >>> UniversalConfig(lens_uncertainty=0.05).method
    'universal'
    """

    method: Literal["universal"] = Field("universal", description=METHOD_DESCRIPTION)
    weights: Path | None = Field(
        None, description="File of a universal model; default: the one that is shipped."
    )
    lens_uncertainty: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="Relative error of the lens, such as of its field curvature; where the lens is "
        "uncertain, the network sharpens less; default: by its calibration, else 0.1.",
    )


def _named_method(value: Any) -> Any:
    """Settings of a deconvolution, or the name of its method; else the first that has these."""
    if isinstance(value, WienerConfig | RichardsonLucyConfig | UniversalConfig):
        return value
    settings = {"method": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        raise ValueError("must be settings of a deconvolution, e.g. RichardsonLucyConfig()")
    if settings.get("method") is None:
        fitting = (n for n, kind in _KINDS.items() if settings.keys() <= kind.model_fields.keys())
        settings = {**settings, "method": next(fitting, RICHARDSON_LUCY)}
    if settings["method"] not in METHODS:
        given = settings["method"]
        raise ValueError(f"method must be one of {', '.join(METHODS)} (given: {given!r})")
    return settings


_KINDS: dict[str, type[WienerConfig | RichardsonLucyConfig | UniversalConfig]] = {
    UNIVERSAL: UniversalConfig,
    RICHARDSON_LUCY: RichardsonLucyConfig,
    WIENER: WienerConfig,
}
"""Settings of each method, first the default; if none is named, the first that has all settings."""


def _method_tag(value: Any) -> str:
    """Tag of the class in `Deconvolution` that settings belong to."""
    return f"<{value['method'] if isinstance(value, dict) else value.method}>"


Deconvolution = Annotated[
    Annotated[UniversalConfig, Tag("<universal>")]  # first the default, as flags show it
    | Annotated[RichardsonLucyConfig, Tag("<richardson-lucy>")]
    | Annotated[WienerConfig, Tag("<wiener>")],
    Discriminator(_method_tag),
    BeforeValidator(_named_method),
]
"""Settings of a method that needs a PSF field, and no training."""


def as_deconvolution(
    value: str | WienerConfig | RichardsonLucyConfig | UniversalConfig | None,
) -> WienerConfig | RichardsonLucyConfig | UniversalConfig:
    """Settings of a deconvolution, as such or of the method of this name; None: the default."""
    if isinstance(value, WienerConfig | RichardsonLucyConfig | UniversalConfig):
        return value
    return _KINDS[value or next(iter(_KINDS))]()


class WienerSettings(WienerConfig, DeviceConfig):
    """Wiener deconvolution of a file, with the device."""


class RichardsonLucySettings(RichardsonLucyConfig, DeviceConfig):
    """Richardson-Lucy deconvolution of a file, with the camera and the device."""

    camera: Camera = Field(Camera(), description="Camera noise of the image.")
