"""Gates of the universal model, which depend on the noise and on how uncertain the lens is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import ModelError
from napari_coordgate.inference.universal import UNCALIBRATED
from napari_coordgate.networks import Noise
from napari_coordgate.universal_model import UniversalModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHOTONS = tuple(float(n) for n in np.geomspace(50, 20_000, 25).round())
"""Photons of a bright pixel at which gates are shown."""
READ_NOISE = 3.0


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
    parts = {
        "noise": Noise(count, torch.full_like(count, read_noise)).coordinates,
        "lens": torch.full_like(count, 5 * lens_uncertainty),
    }
    if not names:
        return {}
    coordinates = torch.cat([parts[name] for name in names], dim=1)
    gates = {}
    for number, maps in enumerate(model.network.coordinate_maps(coordinates), start=1):
        half = len(maps) // 2
        for i, values in enumerate(maps):
            branch, level = ("down", i + 1) if i < half else ("up", i - half + 1)
            gates[f"stage {number} {branch} {level}"] = cast(
                "NDArray[np.float32]", values[:, :, 0, 0].numpy()
            )
    return gates


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
