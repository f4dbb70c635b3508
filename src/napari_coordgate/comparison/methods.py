"""Every method as the same thing: a function from a blurred image to a restored one."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.comparison.rows import BLURRED, SHARP
from napari_coordgate.config import Camera, DeblurConfig, DeblurRuntime, Device, Method
from napari_coordgate.deconvolution import deconvolve_scaled
from napari_coordgate.errors import FrameMismatchError, SettingsError
from napari_coordgate.geometry import Window
from napari_coordgate.inference import Predictor
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

__all__ = ["Restorer", "build_restorer", "check_methods", "load_network", "slug"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Restorer:
    """A method ready for use.

    Attributes
    ----------
    name : str
        What the method is called.
    parameters : int
        Numbers that it learned; 0 for a classical method.
    restore : callable
        From a scaled blurred image (H, W) and its window of the frame to the
        scaled restored image (H, W).
    """

    name: str
    parameters: int
    restore: Callable[[Float32, Window], Float32]

    def __call__(self, blurred: Float32, window: Window) -> Float32:
        """Restore an image."""
        return self.restore(blurred, window)


def build_restorer(
    method: Method,
    field: PSFField,
    *,
    camera: Camera | None = None,
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> Restorer:
    """Restorer of a method that needs no training any more.

    Parameters
    ----------
    method : Method
        A checkpoint or a classical method.
    field : PSFField
        The blur that is to be undone.
    camera : Camera, optional
        Noise of the blurred images, for methods that ask for it.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    cancel : threading.Event, optional
        Once set, a method that iterates stops with `CanceledError`.

    Returns
    -------
    Restorer
        The method, ready for use.

    Raises
    ------
    SettingsError
        If the method is a network that is still to be trained.
    CheckpointError
        If the checkpoint cannot be read.
    FrameMismatchError
        If it serves another frame.
    """
    if method.checkpoint is not None:
        checkpoint = load_network(method, field)
        parameters = sum(weights.numel() for weights in checkpoint.network.parameters())
        deblurrer = Predictor(
            checkpoint, DeblurConfig(precision="float32"), DeblurRuntime(device=device)
        )
        return Restorer(method.name, parameters, deblurrer.predict)
    config = method.wiener or method.richardson_lucy
    if config is not None:
        return Restorer(
            method.name,
            0,
            lambda blurred, window: deconvolve_scaled(
                blurred,
                field,
                config,
                camera=camera,
                origin=window.origin,
                device=device,
                cancel=cancel,
            ),
        )
    raise SettingsError(f"{method.name} is still to be trained; name the checkpoint it made.")


def load_network(method: Method, field: PSFField) -> Model:
    """Checkpoint of a method, which serves the frame of the PSF field.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    FrameMismatchError
        If it serves another frame.
    """
    assert method.checkpoint is not None
    checkpoint = Model.load(method.checkpoint)
    if checkpoint.frame_shape != field.frame_shape:
        served, wanted = ("x".join(map(str, f.frame_shape)) for f in (checkpoint, field))
        raise FrameMismatchError(
            f"{method.checkpoint} serves a frame of {served} pixels, but that of the PSF field has "
            f"{wanted}; train a network for this frame."
        )
    return checkpoint


def slug(name: str) -> str:
    """Name of a method as a part of the names of its files.

    Parameters
    ----------
    name : str
        ``"CG U-Net(3)"``.

    Returns
    -------
    str
        ``"cg-u-net-3"``.
    """
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-")


def check_methods(methods: Sequence[Method]) -> None:
    """Make sure that the files of all methods have names of their own.

    Raises
    ------
    SettingsError
        If there is no method, or two names are as good as the same.
    """
    if not methods:
        raise SettingsError("There is nothing to compare; name one method or more.")
    taken = {slug(name): name for name in (BLURRED, SHARP)}
    for method in methods:
        short = slug(method.name)
        if not short:
            raise SettingsError(f"{method.name!r} holds no letter; give the method another name.")
        if short in taken:
            raise SettingsError(
                f"The method {method.name!r} is too much like {taken[short]!r} in its name; "
                "rename one of them."
            )
        if re.search(r"-seed\d+$", short):
            raise SettingsError(
                f"The method {method.name!r} is named like a seed of another; rename it."
            )
        taken[short] = method.name
