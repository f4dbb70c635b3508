"""Gates of a model, to be shown over the frame or over the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import SettingsError
from napari_coordgate.widgets.layers import MAX_MAP_SIDE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.widgets.session import AnyModel

NO_LENS = "The gates of this model depend on the lens: choose one, or describe one in Lens PSF."


@dataclass(frozen=True, eq=False)
class Gates:
    """Gates of a model by their names: maps (C, h, w) over a frame, or values (P, C) over P noises.

    ``frame`` has the shape and pixel size of the frame; None over the noise.
    """

    model: AnyModel
    values: dict[str, NDArray[np.float32]]
    frame: Model | PSFField | None

    @property
    def photons(self) -> tuple[float, ...]:
        """Photons of the noise levels."""
        from napari_coordgate.inference import PHOTONS  # the model has imported torch

        return PHOTONS

    def overview(self) -> Figure:
        """Figure of all gates."""
        from napari_coordgate.inference import plot_gating_maps, plot_noise_gates

        return (plot_noise_gates if self.frame is None else plot_gating_maps)(self.values)


@dataclass(frozen=True, eq=False)
class GatesRequest:
    """A model (None: the shipped universal one), and the lens that a universal one is used for."""

    model: AnyModel | None
    psf_field: PSFField | None

    def compute(self, _: object) -> Gates:
        """Compute the gates, for the background thread."""
        from napari_coordgate.inference import (  # imports torch
            gating_maps,
            needs_lens,
            noise_gates,
            universal_gating_maps,
        )
        from napari_coordgate.model import Model
        from napari_coordgate.networks import UNCALIBRATED, uncertainty_of
        from napari_coordgate.universal_model import UniversalModel

        model, psf_field = self.model or UniversalModel.load(), self.psf_field
        if isinstance(model, Model):
            return Gates(model, gating_maps(model, longest_side=MAX_MAP_SIDE), model)
        if not needs_lens(model):
            uncertainty = UNCALIBRATED if psf_field is None else uncertainty_of(psf_field)
            return Gates(model, noise_gates(model, lens_uncertainty=uncertainty), None)
        if psf_field is None:
            raise SettingsError(NO_LENS)
        maps = universal_gating_maps(model, psf_field, longest_side=MAX_MAP_SIDE)
        return Gates(model, maps, psf_field)


def most_variable(values: NDArray[np.float32], count: int) -> list[int]:
    """Channels of values (P, C) that vary most over the noise."""
    order: list[int] = np.argsort(-values.std(axis=0), kind="stable")[:count].tolist()
    return order
