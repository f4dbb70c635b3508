"""Methods that are ready for use: functions from a blurred image to a restored one."""

import re
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import BLURRED, SHARP, Kind
from napari_coordgate.config import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    Device,
    Method,
    ModelMethod,
    NetworkMethod,
    RichardsonLucyConfig,
    UniversalConfig,
    UniversalMethod,
    UnrolledMethod,
    WienerConfig,
    WienerMethod,
)
from napari_coordgate.config.base import variants
from napari_coordgate.deconvolution import deconvolve_events, deconvolve_scaled
from napari_coordgate.errors import FrameMismatchError, PSFError, SettingsError
from napari_coordgate.events import Event, run
from napari_coordgate.geometry import Window
from napari_coordgate.inference import (
    DeblurResult,
    Predictor,
    UniversalDeblurrer,
    align_to_frame,
    assess_events,
    deblur_events,
)
from napari_coordgate.io import Image
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

AnyMethod = Model | WienerConfig | RichardsonLucyConfig | UniversalConfig
"""Method that is compared on an image of one's own."""

DEFAULT_RUNTIME = DeblurRuntime()

Float32 = NDArray[np.float32]
Restore = Callable[[NDArray[Any], Window], Generator[Event, None, Float32]]


@dataclass(frozen=True)
class ReadyMethod:
    """Method that needs no more training; `restore` maps a blurred image (h, w) at a window."""

    name: str
    kind: Kind
    parameters: int
    """Number of learned parameters; 0 for a classical method."""
    restore: Restore
    """Yields events and returns the restored image (h, w) in the units of the blurred one."""
    note: str = ""
    """What to know about the results."""
    assessed: list[DeblurResult] = field(default_factory=list)
    """Latest result with its verdict, of a method that was built with ``trust``."""

    def __call__(self, blurred: NDArray[Any], window: Window) -> Float32:
        """Restore an image without looking at the events."""
        return run(self.restore(blurred, window))


def build_method(
    method: Method,
    psf_field: PSFField,
    *,
    camera: Camera | None = None,
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> ReadyMethod:
    """Build a method for scaled images, 0 to 1, from a trained model or classical settings."""
    if isinstance(method, NetworkMethod | UnrolledMethod):
        raise SettingsError(
            f"{method.name} is not trained yet; give the file of its trained model."
        )
    if isinstance(method, ModelMethod):
        model = load_model(method.model, psf_field)
        config, runtime = DeblurConfig(precision="float32"), DeblurRuntime(device=device)
        restore = _without_events(Predictor(model, config, runtime).predict)
        return ReadyMethod(method.name, "model", _parameters(model), restore)
    if isinstance(method, UniversalMethod):
        return _universal(method, psf_field, camera or Camera(), DeblurRuntime(device=device))
    settings = method.wiener if isinstance(method, WienerMethod) else method.richardson_lucy
    where: dict[str, Any] = {"camera": camera, "device": device, "cancel": cancel}

    def deconvolved(blurred: Float32, window: Window) -> Float32:
        return deconvolve_scaled(blurred, psf_field, settings, origin=window.origin, **where)

    return ReadyMethod(method.name, method.kind, 0, _without_events(deconvolved))


def _universal(
    method: UniversalMethod, psf_field: PSFField, camera: Camera, runtime: DeblurRuntime
) -> ReadyMethod:
    """Universal model for scaled images with this PSF field."""
    settings = method.universal
    model = UniversalModel.load(settings.weights)
    config, uncertainty = DeblurConfig(camera=camera), settings.lens_uncertainty
    deblurrer = UniversalDeblurrer(psf_field, model, config, runtime, uncertainty)
    restore = _without_events(deblurrer.deblur_scaled)
    return ReadyMethod(method.name, "universal", _parameters(model), restore)


def image_method(
    name: str,
    method: AnyMethod,
    image: Image,
    psf_field: PSFField | None = None,
    *,
    camera: Camera | None = None,
    runtime: DeblurRuntime = DEFAULT_RUNTIME,
    trust: bool = False,
    cancel: threading.Event | None = None,
) -> ReadyMethod:
    """Build a method for one image in its own units, run as `deblur` and `deconvolve` do.

    With ``trust``, each result is judged, as by `assess`.
    """
    if trust and (isinstance(method, Model) or psf_field is not None):
        return _assessed(name, method, image, psf_field, camera, runtime, cancel)
    if isinstance(method, Model):
        alignment = align_to_frame(image, method)
        job = partial(deblur_events, model=method, origin=alignment, runtime=runtime, cancel=cancel)
        restore = _on_pixels(job, image)
        return ReadyMethod(name, "model", _parameters(method), restore, alignment.note)
    if psf_field is None:
        raise PSFError("This method needs the PSF field of the lens; choose one.")
    if isinstance(method, UniversalConfig):
        alignment = align_to_frame(image, psf_field)
        config = DeblurConfig(deconvolution=method, camera=camera or Camera())
        job = partial(
            deblur_events,
            model=psf_field,
            config=config,
            origin=alignment,
            runtime=runtime,
            cancel=cancel,
        )
        parameters = _parameters(UniversalModel.load(method.weights))
        return ReadyMethod(name, "universal", parameters, _on_pixels(job, image), alignment.note)
    job = partial(
        deconvolve_events,
        psf_field=psf_field,
        config=method,
        camera=camera,
        device=runtime.device,
        cancel=cancel,
    )
    return ReadyMethod(name, kind_of(method), 0, _on_pixels(job, image))


def _assessed(
    name: str,
    method: AnyMethod,
    image: Image,
    psf_field: PSFField | None,
    camera: Camera | None,
    runtime: DeblurRuntime,
    cancel: threading.Event | None,
) -> ReadyMethod:
    """Method for one image whose results are judged."""
    if isinstance(method, Model):
        reference: Model | PSFField = method
        config, parameters = DeblurConfig(), _parameters(method)
    else:
        assert psf_field is not None
        reference = psf_field
        config = DeblurConfig(deconvolution=method, camera=camera or Camera())
        parameters = 0
        if isinstance(method, UniversalConfig):
            parameters = _parameters(UniversalModel.load(method.weights))
    alignment = align_to_frame(image, reference)
    assessed: list[DeblurResult] = []

    def restore(blurred: NDArray[Any], window: Window) -> Generator[Event, None, Float32]:
        result = yield from assess_events(
            replace(image, data=blurred),
            reference,
            config=config,
            origin=alignment,
            runtime=runtime,
            cancel=cancel,
        )
        assessed[:] = [result]
        return np.asarray(result.image, np.float32)

    return ReadyMethod(name, kind_of(method), parameters, restore, alignment.note, assessed)


def unchanged() -> ReadyMethod:
    """Baseline of every comparison: the blurred image as it is."""
    return ReadyMethod(BLURRED, "blurred", 0, _without_events(lambda blurred, window: blurred))


def kind_of(method: AnyMethod) -> Kind:
    """Type of a method."""
    if isinstance(method, Model):
        return "model"
    if isinstance(method, UniversalConfig):
        return "universal"
    return "wiener" if isinstance(method, WienerConfig) else "richardson_lucy"


def load_model(path: Path, psf_field: PSFField) -> Model:
    """Load a model, and check that it was trained for the frame of the PSF field."""
    model = Model.load(path)
    if model.frame_shape != psf_field.frame_shape:
        trained, wanted = ("x".join(map(str, f.frame_shape)) for f in (model, psf_field))
        raise FrameMismatchError(
            f"{path} was trained for a frame of {trained} pixels, but the frame of "
            f"the PSF field is {wanted}; train a network for this frame."
        )
    return model


def slug(name: str) -> str:
    """Name of a method as part of file names: ``"cg-u-net-3"`` of ``"CG U-Net(3)"``."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-")


def check_methods(methods: Sequence[Method]) -> None:
    """Raise `SettingsError` if there is no method, or the names give no distinct file names."""
    if not methods:
        raise SettingsError("There is nothing to compare; give at least one method.")
    taken = {slug(name): name for name in (BLURRED, SHARP)}
    for method in methods:
        if not isinstance(method, variants(Method)):
            kinds = ", ".join(kind.__name__ for kind in variants(Method))
            raise SettingsError(
                f"methods must be a list of any of {kinds}; it contains a {type(method).__name__}."
            )
        short = slug(method.name)
        if not short:
            raise SettingsError(f"{method.name!r} has no letter; give the method another name.")
        if short in taken:
            raise SettingsError(
                f"The method name {method.name!r} is too similar to {taken[short]!r}; "
                "rename one of them."
            )
        if re.search(r"-seed\d+$", short):
            raise SettingsError(
                f"The method name {method.name!r} looks like a seed of another method; rename it."
            )
        taken[short] = method.name


def _parameters(model: Model | UniversalModel) -> int:
    return sum(weights.numel() for weights in model.network.parameters())


def _without_events(function: Callable[[Any, Window], Float32]) -> Restore:
    """Function on arrays as a method that reports nothing."""

    def restore(blurred: NDArray[Any], window: Window) -> Generator[Event, None, Float32]:
        yield from ()
        return function(blurred, window)

    return restore


def _on_pixels(job: Callable[[Image], Generator[Event, None, Any]], image: Image) -> Restore:
    """Job on an image as a method on its pixels; name and pixel size are those of the image."""

    def restore(blurred: NDArray[Any], window: Window) -> Generator[Event, None, Float32]:
        return np.asarray((yield from job(replace(image, data=blurred))), np.float32)

    return restore
