"""The parameters of a lens as a vector, and the wavefront they make at a position of the frame."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Lens
from napari_coordgate.geometry import field_vectors

Vector = Sequence[float] | NDArray[np.float64]

PARAMETERS = (
    "defocus_um",
    "field_curvature_um",
    "tilt_um.y",
    "tilt_um.x",
    "axis.y",
    "axis.x",
    "astigmatism_waves",
    "coma_waves",
    "spherical_waves",
    "axial_astigmatism_waves.0",
    "axial_astigmatism_waves.1",
    "axial_coma_waves.y",
    "axial_coma_waves.x",
)
"""Names of the parameters of a lens; those of a pair differ in what follows the dot."""

EVEN = tuple(
    name
    for name in PARAMETERS
    if name.partition("_")[0] in ("defocus", "field", "tilt", "astigmatism", "spherical")
    or name.startswith("axial_astigmatism")
)
"""Parameters whose signs one plane cannot tell: all of them reversed make the same PSFs."""


def lens_vector(lens: Lens) -> NDArray[np.float64]:
    """Values (13,) of the parameters of a lens."""
    values = []
    for name in PARAMETERS:
        field, _, end = name.partition(".")
        value = getattr(lens, field)
        values.append(value[0 if end in ("y", "0") else 1] if end else value)
    return np.array(values, np.float64)


def lens_values(
    vector: Vector,
) -> dict[str, float | tuple[float, float]]:
    """Values of a lens's settings from a vector of its parameters."""
    values: dict[str, float | tuple[float, float]] = {}
    by_name = dict(zip(PARAMETERS, map(float, vector), strict=True))
    for name, value in by_name.items():
        field, _, end = name.partition(".")
        if not end:
            values[field] = value
        elif end in ("y", "0"):
            other = f"{field}.{'x' if end == 'y' else '1'}"
            values[field] = (value, by_name[other])
    return values


def lens_with(lens: Lens, vector: Vector, digits: int = 12) -> Lens:
    """Lens with other values of its parameters."""
    return lens.replace(**lens_values(np.round(vector, digits)))


def wavefront_coefficients(
    parameters: Tensor, coordinates: Tensor, frame_shape: tuple[int, int]
) -> Tensor:
    """Coefficients (..., 6) of the wavefronts at frame coordinates (..., 2), but the position.

    They are those of `optics.differentiable`: defocus, astigmatism, coma and spherical aberration.
    The function is differentiable by the parameters (13,).
    """
    defocus, curvature, tilt_y, tilt_x, axis_y, axis_x, astigmatism, coma, spherical = parameters[
        :9
    ]
    straight, diagonal, coma_y, coma_x = parameters[9:]
    scale = field_vectors(np.ones(2), frame_shape)
    y, x = coordinates[..., 0], coordinates[..., 1]
    v_y, v_x = (y - axis_y) * scale[0], (x - axis_x) * scale[1]
    return torch.stack(
        [
            defocus + curvature * (v_y**2 + v_x**2) + tilt_y * y + tilt_x * x,
            astigmatism * (v_y**2 - v_x**2) + straight,
            astigmatism * 2.0 * v_y * v_x + diagonal,
            coma * v_y + coma_y,
            coma * v_x + coma_x,
            spherical.expand_as(y),
        ],
        dim=-1,
    )


def coefficient_jacobian(
    parameters: Tensor, coordinates: Tensor, frame_shape: tuple[int, int]
) -> Tensor:
    """Derivatives (..., 6, 13) of `wavefront_coefficients` by the parameters."""
    _, curvature, _, _, axis_y, axis_x, astigmatism, coma = parameters[:8]
    scale = field_vectors(np.ones(2), frame_shape)
    y, x = coordinates[..., 0], coordinates[..., 1]
    v_y, v_x = (y - axis_y) * scale[0], (x - axis_x) * scale[1]
    jacobian = torch.zeros(*y.shape, 6, len(PARAMETERS), dtype=parameters.dtype)
    ones = torch.ones_like(y)
    for index, column in enumerate((ones, v_y**2 + v_x**2, y, x)):
        jacobian[..., 0, index] = column
    jacobian[..., 0, 4] = -2.0 * curvature * v_y * scale[0]
    jacobian[..., 0, 5] = -2.0 * curvature * v_x * scale[1]
    jacobian[..., 1, 4] = -2.0 * astigmatism * v_y * scale[0]
    jacobian[..., 1, 5] = 2.0 * astigmatism * v_x * scale[1]
    jacobian[..., 2, 4] = -2.0 * astigmatism * v_x * scale[0]
    jacobian[..., 2, 5] = -2.0 * astigmatism * v_y * scale[1]
    jacobian[..., 1, 6] = v_y**2 - v_x**2
    jacobian[..., 2, 6] = 2.0 * v_y * v_x
    jacobian[..., 3, 4] = -coma * scale[0]
    jacobian[..., 4, 5] = -coma * scale[1]
    jacobian[..., 3, 7], jacobian[..., 4, 7] = v_y, v_x
    for row, column_index in ((5, 8), (1, 9), (2, 10), (3, 11), (4, 12)):
        jacobian[..., row, column_index] = 1.0
    return jacobian


def as_named(vector: Vector) -> Mapping[str, float]:
    """Values by the names of the parameters."""
    return dict(zip(PARAMETERS, map(float, vector), strict=True))
