"""How a network sees one place of the frame: its kernel there, beside the lens's PSF."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.events import Event, Finished
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.model import Model

__all__ = ["AtPlace", "PlaceRequest", "gate_values"]


@dataclass(frozen=True, eq=False)
class AtPlace:
    """A network at one pixel of the frame.

    Attributes
    ----------
    kernel : ndarray of float32, shape (K, K)
        How it gathers light for this pixel.
    psf : ndarray, shape (L, L), or None
        How the lens spreads the light of this pixel, where the checkpoint knows.
    """

    kernel: NDArray[np.float32]
    psf: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class PlaceRequest:
    """A place to look at.

    Attributes
    ----------
    checkpoint : Checkpoint
        The network.
    row, column : int
        Frame pixel.
    pixels : array or None
        Blurred image (..., H, W) of the whole frame around which the network is looked at.
    plane : tuple of int
        Which plane of it.
    """

    checkpoint: "Model"
    row: int
    column: int
    pixels: Any = None
    plane: tuple[int, ...] = ()

    def events(self, _: Job) -> Iterator[Event | AtPlace]:
        """The place; for the background thread."""
        from napari_coordgate.inference import effective_kernel  # brings in torch

        blurred = None if self.pixels is None else np.asarray(self.pixels[self.plane])
        kernel = effective_kernel(self.checkpoint, self.row, self.column, blurred)
        field = self.checkpoint.psf_field
        yield AtPlace(kernel, None if field is None else field.psf_at(self.row, self.column))
        yield Finished("completed", "")


def gate_values(
    gate: NDArray[np.float32], pitch: tuple[float, float], row: int, column: int
) -> NDArray[np.float32]:
    """Values of a gate's maps at a frame pixel.

    Parameters
    ----------
    gate : ndarray, shape (n_c, h, w)
        Maps over the whole frame.
    pitch : tuple of float
        Frame pixels (y, x) that a pixel of the maps covers.
    row, column : int
        Frame pixel.

    Returns
    -------
    ndarray, shape (n_c,)
        Values of the map pixel that covers it.
    """
    return gate[:, int((row + 0.5) / pitch[0]), int((column + 0.5) / pitch[1])]
