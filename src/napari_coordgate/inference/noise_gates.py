"""Gates of a universal model: over the noise, or over the frame where they depend on the pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_coordgate.errors import ModelError
from napari_coordgate.geometry import Window
from napari_coordgate.inference.gating_maps import reduced_shape
from napari_coordgate.networks import UNCALIBRATED, Noise, uncertainty_of, window_coordinates
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHOTONS = tuple(float(n) for n in np.geomspace(50, 20_000, 25).round())
"""Photons of a bright pixel at which gates are shown."""
READ_NOISE = 3.0


def needs_lens(model: UniversalModel) -> bool:
    """Whether the gates depend on the pixel, by its position or its PSF, not on the noise alone."""
    return not {"noise", "lens"}.issuperset(model.config.network.coordinates)


@torch.inference_mode()
def noise_gates(
    model: UniversalModel,
    photons: Sequence[float] = PHOTONS,
    read_noise: float = READ_NOISE,
    lens_uncertainty: float = UNCALIBRATED,
) -> dict[str, NDArray[np.float32]]:
    """Factors (photons, channels) by which each gate multiplies its channels, by its name."""
    names = model.config.network.coordinates
    if wrong := [name for name in names if name not in ("noise", "lens")]:
        raise ModelError(f"The gates of this model also depend on {', '.join(wrong)}.")
    count = torch.tensor(photons, dtype=torch.float32).view(-1, 1, 1, 1)
    noise = Noise(count, torch.full_like(count, read_noise))
    coordinates = window_coordinates(model.config.network, noise, lens_uncertainty, None, None)
    return {name: maps[:, :, 0, 0] for name, maps in _named_gates(model, coordinates)}


@torch.inference_mode()
def universal_gating_maps(
    model: UniversalModel,
    psf_field: PSFField,
    *,
    photons: float = 1000.0,
    read_noise: float = READ_NOISE,
    lens_uncertainty: float | None = None,
    longest_side: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Gating maps (C, h, w) of each gate over the frame of a lens, as those of `gating_maps`."""
    if lens_uncertainty is None:
        lens_uncertainty = uncertainty_of(psf_field)
    noise, whole = Noise.of(photons, read_noise), Window.whole(psf_field.frame_shape)
    coordinates = window_coordinates(
        model.config.network, noise, lens_uncertainty, psf_field, whole
    )
    if longest_side is not None and max(coordinates.shape[-2:]) > longest_side:
        multiple = 2 ** (model.config.network.depth - 1)
        shape = reduced_shape(psf_field.frame_shape, longest_side, multiple)
        coordinates = functional.adaptive_avg_pool2d(coordinates, shape)
    return {name: maps[0] for name, maps in _named_gates(model, coordinates)}


def _named_gates(
    model: UniversalModel, coordinates: Tensor
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name of each gate, and its maps (B, C, h, w) of these coordinates."""
    for number, maps in enumerate(model.network.coordinate_maps(coordinates), start=1):
        half = len(maps) // 2
        for i, values in enumerate(maps):
            branch, level = ("down", i + 1) if i < half else ("up", i - half + 1)
            yield f"stage {number} {branch} {level}", values.numpy()


def plot_noise_gates(
    gates: Mapping[str, NDArray[np.float32]], photons: Sequence[float] = PHOTONS
) -> Figure:
    """Figure of `noise_gates`: one picture for each gate, photons across, channels down."""
    from matplotlib.figure import Figure

    columns = 2
    rows = -(-len(gates) // columns)
    figure = Figure(figsize=(8, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell, (name, values) in zip(axes, gates.items(), strict=False):
        relative = values / np.maximum(np.abs(values).max(axis=0), 1e-9)
        order = np.argsort(relative[-1] - relative[0])
        limits = (np.log10(photons[0]), np.log10(photons[-1]), len(order), 0)
        cell.imshow(
            relative[:, order].T, aspect="auto", extent=limits, vmin=-1, vmax=1, cmap="RdBu"
        )
        cell.set_title(name, fontsize=9)
        cell.set_xlabel("photons of a bright pixel, power of 10", fontsize=7)
        cell.set_ylabel("channel", fontsize=7)
        cell.tick_params(labelsize=7)
    for cell in axes[len(gates) :]:
        cell.set_axis_off()
    return figure
