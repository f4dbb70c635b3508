"""Settings of lenses, how they were measured, and the accuracy of PSF fields."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from napari_coordgate.config.base import Settings

Pair = tuple[float, float]

AXIS = (
    "Position (y, x) of the optical axis in the frame: 0, 0 is the center; -1 and 1 are the edges."
)


def _date_text(value: Any) -> Any:
    """Text of a date, which YAML reads as a date unless it is quoted."""
    return value.isoformat() if isinstance(value, date) else value


class LensCalibration(Settings):
    """How a lens was measured, and how well its values are known.

    Examples
    --------
    >>> calibration = LensCalibration(method="beads", standard_errors={"field_curvature_um": 0.2})
    >>> lens = Lens(
    ...     na=0.8,
    ...     wavelength_nm=600,
    ...     pixel_size_um=0.325,
    ...     field_curvature_um=3.1,
    ...     calibration=calibration,
    ... )
    >>> lens.calibration.standard_errors["field_curvature_um"]
    0.2
    """

    method: str = Field(description="What the lens was measured with: beads, images, ...")
    standard_errors: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        description="Standard error of each measured value, in its unit, by the name of the "
        "setting: field_curvature_um, tilt_um.y, axial_astigmatism_waves.0, ...",
    )
    date: Annotated[str, BeforeValidator(_date_text)] | None = Field(
        None, description="Day of the measurement, such as 2025-03-31."
    )
    objective: str | None = Field(None, description="Name of the objective.")
    camera: str | None = Field(None, description="Name of the camera.")
    frame_shape: tuple[int, int] | None = Field(
        None, description="(height, width) of the frame that the lens was measured on, pixels."
    )
    images: str | None = Field(None, description="Images that the lens was measured on.")
    notes: tuple[str, ...] = Field((), description="What the measurement could not tell.")


def describe_calibration(calibration: LensCalibration) -> str:
    """Text such as "measured with beads on 2025-03-31"."""
    day = f" on {calibration.date}" if calibration.date else ""
    return f"measured with {calibration.method}{day}"


class Lens(Settings):
    """A lens described by its aperture and aberrations.

    The field vector points from the optical axis to a pixel of the frame; its length, the
    *field radius*, is 1 at half the frame's diagonal: at the corners, if the axis is at the
    center. Off-axis aberrations have the field dependence of third-order theory and the pupil
    shape of the fringe Zernike polynomials, so they neither shift nor defocus the image.

    Examples
    --------
    >>> lens = Lens(na=0.8, wavelength_nm=600, pixel_size_um=0.325, field_curvature_um=3)
    >>> lens.refractive_index
    1.0
    """

    kind: Literal["pupil"] = Field(
        "pupil", description="Lens described by aperture and aberrations."
    )
    na: float = Field(
        gt=0,
        lt=1.7,
        description="Numerical aperture.",
        json_schema_extra={
            "missing": "a lens without NA: give na, or the width of the blur (sigma_center_px, "
            "sigma_edge_px)"
        },
    )
    wavelength_nm: float = Field(
        gt=100,
        lt=3000,
        description="Emission wavelength, nm.",
        json_schema_extra={
            "missing": "a lens without wavelength: give wavelength_nm, that of the emitted light"
        },
    )
    pixel_size_um: float = Field(
        gt=0,
        le=1000,
        description="Pixel size in the specimen, um.",
        json_schema_extra={
            "missing": "a lens without pixel size: give pixel_size_um, the camera's pixels divided "
            "by the magnification"
        },
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
        0.0,
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
        description="Astigmatism that is the same over the whole frame, as of a decentered "
        "element, waves: along the axes of the frame, and along its diagonals.",
    )
    axial_coma_waves: Pair = Field(
        (0.0, 0.0),
        description="Coma that is the same over the whole frame, as of a decentered element, "
        "waves: (y, x).",
    )
    axis: Pair = Field((0.0, 0.0), description=AXIS)
    calibration: LensCalibration | None = Field(
        None, description="How the lens was measured; default: it was not."
    )

    @model_serializer(mode="wrap")
    def _without_missing_calibration(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Values; those of a lens that was not measured are as before there were calibrations."""
        values: dict[str, Any] = dump(self)
        return {name: v for name, v in values.items() if name != "calibration" or v is not None}

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


def measured_frame(lens: Lens | GaussianLens | None) -> tuple[int, int] | None:
    """Frame (height, width) in pixels that a lens was measured on; None for other lenses."""
    calibration = lens.calibration if isinstance(lens, Lens) else None
    return None if calibration is None else calibration.frame_shape


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
