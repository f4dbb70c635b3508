"""What a deblurring is asked to do: a frozen snapshot, taken before it begins."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.config import DeblurConfig, DeblurRuntime, DeblurSettings
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event, Finished
from napari_coordgate.io import Image
from napari_coordgate.io.files import allocate
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.inference import FrameAlignment
    from napari_coordgate.model import Model

__all__ = ["DeblurRequest", "result_array"]

LARGEST_IN_MEMORY = 2 * 2**30
"""Bytes of a result above which it is kept in a temporary file."""


@dataclass(frozen=True, eq=False)
class DeblurRequest:
    """An image, a network, and how to run it.

    Attributes
    ----------
    image : Image
        Blurred image, as lazy as its layer.
    checkpoint : Checkpoint
        The network.
    config : DeblurSettings
        Settings.
    placement : Placement
        Where in the frame the image lies.
    out : ndarray
        Where the result goes.
    visible : callable
        Returns the plane that is looked at by now, which is deblurred next.
    """

    image: Image
    checkpoint: "Model"
    config: DeblurSettings
    placement: "FrameAlignment"
    out: NDArray[Any]
    visible: Callable[[], tuple[int, ...]]

    def events(self, job: Job) -> Iterator[Event]:
        """Events of the deblurring; for the background thread."""
        from napari_coordgate.inference import deblur_events  # brings in torch

        yield from deblur_events(
            self.image,
            self.checkpoint,
            origin=self.placement,
            config=self.config.select(DeblurConfig),
            runtime=self.config.select(DeblurRuntime),
            out=self.out,
            first=self.visible,
            cancel=job.cancel_requested,
        )
        yield Finished("completed", f"Deblurred {self.image.name}.")


def result_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros for a result: in memory, or in a temporary file where they are many.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result.
    dtype : data type
        Type of its pixels.

    Returns
    -------
    ndarray
        A memory map of a file without a name, which goes as the last layer of it does.

    Raises
    ------
    OutputError
        If the disk of temporary files has not enough room.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= LARGEST_IN_MEMORY:
        return np.zeros(shape, dtype)
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < size:
        raise OutputError(
            f"The result takes {size / 1e9:.1f} GB, more than is free in {folder}; free some "
            "space, or deblur a part of the image."
        )
    with tempfile.TemporaryFile() as file:
        allocate(file.fileno(), size)
        return np.memmap(file, dtype, "w+", shape=shape)
