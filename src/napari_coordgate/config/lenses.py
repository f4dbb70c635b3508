"""Lenses, and how finely a PSF field stands for one."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from napari_coordgate.config.base import Settings

Pair = tuple[float, float]


class Lens(Settings):
    """A lens, seen from the object: what makes its blur, and what makes the blur vary.

    The field vector points from the optical axis to a place in the frame; its
    length, the *field radius*, is 1 at half the frame's diagonal (the corners,
    when the axis is at the center). Off-axis aberrations have the field
    dependence of third-order theory and the pupil shape of the fringe Zernike
    polynomials, so that they neither shift nor defocus the image by themselves.

    Examples
    --------
    >>> lens = Lens(na=0.8, wavelength_nm=600, field_curvature_um=3)
    >>> lens.pixel_size_um
    0.325
    """

    kind: Literal["pupil"] = Field("pupil", description="Lens described by its pupil.")
    na: float = Field(0.5, gt=0, lt=1.7, description="Numerical aperture.")
    wavelength_nm: float = Field(520.0, gt=100, lt=3000, description="Wavelength in vacuum, nm.")
    pixel_size_um: float = Field(
        0.325, gt=0, le=1000, description="Side of a camera pixel in the object, um."
    )
    refractive_index: float = Field(
        1.0, ge=1, le=2.5, description="Refractive index of the immersion medium."
    )
    defocus_um: float = Field(0.0, description="Defocus on the optical axis, um.")
    field_curvature_um: float = Field(
        6.0, description="Further defocus at field radius 1, growing as its square, um."
    )
    tilt_um: Pair = Field(
        (0.0, 0.0),
        description="Further defocus at the frame's lower and right edge (focal plane tilt), um.",
    )
    astigmatism_waves: float = Field(
        0.0, description="Astigmatism at field radius 1, growing as its square, waves."
    )
    coma_waves: float = Field(
        0.0, description="Coma at field radius 1, growing in proportion to it, waves."
    )
    spherical_waves: float = Field(
        0.0, description="Spherical aberration, the same over the frame, waves."
    )
    axis: Pair = Field(
        (0.0, 0.0), description="Optical axis (y, x) in frame coordinates; the frame is [-1, 1]."
    )

    @model_validator(mode="after")
    def _aperture_fits_medium(self) -> Self:
        if self.na >= self.refractive_index:
            raise ValueError(
                f"na {self.na} must be below the refractive index {self.refractive_index}; "
                "name the immersion medium (water 1.33, oil 1.515) or lower the na."
            )
        return self


class GaussianLens(Settings):
    """A lens known by the width of its blur alone, for those who know no NA.

    The variance of the Gaussian blur grows in proportion to the squared field
    radius, which is 1 at half the frame's diagonal.

    Examples
    --------
    >>> GaussianLens(sigma_center_px=0.8, sigma_edge_px=3).axis
    (0.0, 0.0)
    """

    kind: Literal["gaussian"] = Field("gaussian", description="Lens described by its blur's width.")
    sigma_center_px: float = Field(
        0.5, gt=0, le=200, description="Standard deviation of the blur on the axis, pixels."
    )
    sigma_edge_px: float = Field(
        2.0, gt=0, le=200, description="Standard deviation of the blur at field radius 1, pixels."
    )
    pixel_size_um: float | None = Field(
        None, gt=0, le=1000, description="Side of a camera pixel in the object, um, if known."
    )
    axis: Pair = Field(
        (0.0, 0.0), description="Optical axis (y, x) in frame coordinates; the frame is [-1, 1]."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_pupil(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() & (Lens.model_fields.keys() - cls.model_fields):
            raise ValueError(
                "give either a pupil (na, ...) or the blur's width (sigma_...), not both."
            )
        return value


def _lens_kind(value: Any) -> str:
    """Kind of lens meant by a mapping; a sigma tells a Gaussian lens without its kind."""
    if isinstance(value, dict):
        guess = "gaussian" if any(str(key).startswith("sigma_") for key in value) else "pupil"
        return f"<{value.get('kind', guess)}>"
    return f"<{getattr(value, 'kind', 'pupil')}>"


AnyLens = Annotated[
    Annotated[Lens, Tag("<pupil>")] | Annotated[GaussianLens, Tag("<gaussian>")],
    Discriminator(_lens_kind),
]


class PSFFieldConfig(Settings):
    """How finely a PSF field stands for its lens."""

    tolerance: float = Field(
        1e-3, gt=0, lt=1, description="Relative error of a blur against the exact sum over PSFs."
    )
    enclosed_energy: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Part of each PSF's light inside its window; the window grows to hold it.",
    )
