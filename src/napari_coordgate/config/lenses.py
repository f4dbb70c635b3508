"""Settings of lenses, and the accuracy of PSF fields."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from napari_coordgate.config.base import Settings

Pair = tuple[float, float]

AXIS = (
    "Position (y, x) of the optical axis in the frame: 0, 0 is the center; -1 and 1 are the edges."
)


class Lens(Settings):
    """A lens described by its aperture and aberrations.

    The field vector points from the optical axis to a pixel of the frame; its length, the
    *field radius*, is 1 at half the frame's diagonal: at the corners, if the axis is at the
    center. Off-axis aberrations have the field dependence of third-order theory and the pupil
    shape of the fringe Zernike polynomials, so they neither shift nor defocus the image.

    Examples
    --------
    >>> lens = Lens(na=0.8, wavelength_nm=600, field_curvature_um=3)
    >>> lens.pixel_size_um
    0.325
    """

    kind: Literal["pupil"] = Field(
        "pupil", description="Lens described by aperture and aberrations."
    )
    na: float = Field(0.5, gt=0, lt=1.7, description="Numerical aperture.")
    wavelength_nm: float = Field(520.0, gt=100, lt=3000, description="Emission wavelength, nm.")
    pixel_size_um: float = Field(
        0.325, gt=0, le=1000, description="Pixel size in the specimen, um."
    )
    refractive_index: float = Field(
        1.0,
        ge=1,
        le=2.5,
        description="Refractive index of the immersion medium: air 1, water 1.33, oil 1.515.",
    )
    defocus_um: float = Field(
        0.0, description="Defocus on the optical axis (center of the frame), um."
    )
    field_curvature_um: float = Field(
        6.0,
        description="Defocus in the corners (field radius 1) relative to the center, um; grows "
        "with the square of the field radius.",
    )
    tilt_um: Pair = Field(
        (0.0, 0.0),
        description="Tilt of the focal plane: defocus at the lower and at the right edge of the "
        "frame relative to the center, um.",
    )
    astigmatism_waves: float = Field(
        0.0,
        description="Astigmatism in the corners (field radius 1), waves; grows with the square "
        "of the field radius.",
    )
    coma_waves: float = Field(
        0.0,
        description="Coma in the corners (field radius 1), waves; grows in proportion to the "
        "field radius.",
    )
    spherical_waves: float = Field(
        0.0, description="Spherical aberration, the same over the whole frame, waves."
    )
    axial_astigmatism_waves: Pair = Field(
        (0.0, 0.0),
        description="Astigmatism that is the same over the whole frame, as of a decentered element, "
        "waves: along the axes of the frame, and along its diagonals.",
    )
    axial_coma_waves: Pair = Field(
        (0.0, 0.0),
        description="Coma that is the same over the whole frame, as of a decentered element, "
        "waves: (y, x).",
    )
    axis: Pair = Field((0.0, 0.0), description=AXIS)

    @model_validator(mode="after")
    def _aperture_fits_medium(self) -> Self:
        if self.na >= self.refractive_index:
            raise ValueError(
                f"na {self.na} must be below refractive_index {self.refractive_index}; set the "
                "refractive_index of the immersion medium (water 1.33, oil 1.515) or lower the na."
            )
        return self


class GaussianLens(Settings):
    """A lens described by the width of its blur, if the numerical aperture is not known.

    The variance of the Gaussian blur grows in proportion to the squared field radius, which is
    1 at half the frame's diagonal.

    Examples
    --------
    >>> GaussianLens(sigma_center_px=0.8, sigma_edge_px=3).axis
    (0.0, 0.0)
    """

    kind: Literal["gaussian"] = Field(
        "gaussian", description="Lens described by the width of its blur."
    )
    sigma_center_px: float = Field(
        0.5,
        gt=0,
        le=200,
        description="Standard deviation of the blur on the optical axis (center of the frame), "
        "pixels.",
    )
    sigma_edge_px: float = Field(
        2.0,
        gt=0,
        le=200,
        description="Standard deviation of the blur in the corners (field radius 1), pixels.",
    )
    pixel_size_um: float | None = Field(
        None, gt=0, le=1000, description="Pixel size in the specimen, um; default: unknown."
    )
    axis: Pair = Field((0.0, 0.0), description=AXIS)

    @model_validator(mode="before")
    @classmethod
    def _has_no_pupil(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() & (Lens.model_fields.keys() - cls.model_fields):
            raise ValueError(
                "give either the aperture (na, ...) or the width of the blur (sigma_...), not both."
            )
        return value


def _lens_kind(value: Any) -> str:
    """Kind of lens that a mapping describes; without a kind, a sigma means a Gaussian lens."""
    if isinstance(value, dict):
        guess = "gaussian" if any(str(key).startswith("sigma_") for key in value) else "pupil"
        return f"<{value.get('kind', guess)}>"
    return f"<{getattr(value, 'kind', 'pupil')}>"


AnyLens = Annotated[
    Annotated[Lens, Tag("<pupil>")] | Annotated[GaussianLens, Tag("<gaussian>")],
    Discriminator(_lens_kind),
]


class PSFFieldConfig(Settings):
    """Accuracy of a PSF field."""

    tolerance: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="Maximum relative error of a blurred image, compared with the exact PSF of "
        "each pixel.",
    )
    enclosed_energy: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Fraction of the light of each PSF to include; a larger fraction makes larger "
        "PSFs.",
    )
