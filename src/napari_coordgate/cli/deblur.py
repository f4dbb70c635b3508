"""Commands that make one image of another: deblurring with a model, and deconvolution."""

import threading
import time
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import typer
from numpy.typing import NDArray

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.output import image_output, settings_path, write_settings
from napari_coordgate.cli.settings_flags import CliSettings, flag_of
from napari_coordgate.config import (
    BatchSettings,
    DeblurConfig,
    DeblurRuntime,
    FileConfig,
    RichardsonLucySettings,
    WienerSettings,
)
from napari_coordgate.deconvolution import deconvolve_events
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, pluralize
from napari_coordgate.inference import deblur_events, output_dtype
from napari_coordgate.io import Image, plane_indices, read_image
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

IMAGE_SETTINGS = FileConfig.model_fields.keys() | DeblurRuntime.model_fields.keys()
"""Settings of a batch that also apply to a single image."""
DECONVOLUTION = {"deconvolution", "camera"}
"""Settings that apply to deconvolution alone."""
NETWORK = {"precision", "tile", "memory_gb"}
"""Settings that apply to models alone."""

Process = Callable[[Any, threading.Event], Generator[Event, None, NDArray[Any]]]
"""Starts a job that fills an array and can be canceled."""


@dataclass(frozen=True)
class MethodFile:
    """File of the model or PSF field that deblurs."""

    path: Path
    is_model: bool

    @classmethod
    def from_flags(cls, model: Path | None, psf: Path | None) -> Self:
        """File of the flag ``--model`` or ``--psf``."""
        if model is not None and psf is None:
            return cls(model, is_model=True)
        if psf is not None and model is None:
            return cls(psf, is_model=False)
        raise SettingsError("Give either a model (--model) or a PSF field (--psf).")

    def load(self) -> Model | PSFField:
        """The model or PSF field; an error if the file is of the other kind."""
        return Model.load(self.path) if self.is_model else PSFField.load(self.path)

    @property
    def other_settings(self) -> set[str]:
        """Settings that do not apply."""
        return DECONVOLUTION if self.is_model else NETWORK

    def settings(self, given: CliSettings[BatchSettings], **values: Any) -> BatchSettings:
        """Settings from flags and their file; a PSF field is for Richardson-Lucy by default."""
        if wrong := given.flags.keys() & self.other_settings:
            kinds = ("models", "--psf") if self.is_model else ("deconvolution", "--model")
            raise SettingsError(
                f"{flag_of(given.flags, min(wrong))} has no effect on {kinds[0]}; omit it, or give "
                f"{kinds[1]}."
            )
        file = {n: v for n, v in given.file.items() if n not in self.other_settings}
        if not self.is_model:
            file["deconvolution"] = file.get("deconvolution") or {"method": "richardson-lucy"}
        return replace(given, file=file).settings(values)


def deblur_image(
    path: Path,
    method_file: MethodFile,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> None:
    """Deblur an image file; axes and pixel size are kept."""
    settings = method_file.settings(given)
    folder_flags = given.flags.keys() - IMAGE_SETTINGS
    if folder_flags:
        raise SettingsError(
            f"--{min(folder_flags)} is for folders, but {path} is an image; omit it."
        )
    check_not_exists([output, settings_path(output)], overwrite)
    method = method_file.load()
    image = read_image(path, axes)
    if axes is None and "S" in image.axes:
        _warn_of_color(image)
    image = image.select(settings.selection)

    def process(out: Any, cancel: threading.Event) -> Generator[Event, None, NDArray[Any]]:
        return deblur_events(
            image,
            method,
            origin=origin,
            config=settings.select(DeblurConfig),
            runtime=settings.select(DeblurRuntime),
            out=out,
            cancel=cancel,
        )

    dtype = output_dtype(image.data, settings)
    seconds = _write_processed(image, output, dtype, process, overwrite)
    names = (set(given.names) & IMAGE_SETTINGS) - method_file.other_settings
    text = settings.to_yaml(names)
    write_settings(settings_path(output), text, overwrite)
    typer.echo(f"{output}: Deblurred {_summary(image, seconds)}.")


def deconvolve_image(
    path: Path,
    psf: Path,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[WienerSettings] | CliSettings[RichardsonLucySettings],
    overwrite: bool,
) -> None:
    """Deconvolve an image file by Wiener or Richardson-Lucy; axes and pixel size are kept."""
    config: WienerSettings | RichardsonLucySettings = given.settings()
    camera = config.camera if isinstance(config, RichardsonLucySettings) else None
    check_not_exists([output, settings_path(output)], overwrite)
    psf_field = PSFField.load(psf)
    image = read_image(path, axes)

    def process(out: Any, cancel: threading.Event) -> Generator[Event, None, NDArray[Any]]:
        return deconvolve_events(
            image,
            psf_field,
            config,
            origin=origin,
            camera=camera,
            device=config.device,
            out=out,
            cancel=cancel,
        )

    seconds = _write_processed(image, output, np.dtype(np.float32), process, overwrite)
    write_settings(settings_path(output), config.to_yaml(), overwrite)
    typer.echo(f"{output}: Deconvolved {_summary(image, seconds)}.")


def _write_processed(
    image: Image, output: Path, dtype: np.dtype[Any], process: Process, overwrite: bool
) -> float:
    """Write the result of a job, of the image's shape and axes; returns the seconds it took."""
    start = time.perf_counter()
    with (
        cancel_on_signal() as cancel,
        image_output(output, image, image.data.shape, dtype, overwrite) as out,
    ):
        follow(process(out, cancel))
        return time.perf_counter() - start


def _summary(image: Image, seconds: float) -> str:
    count = sum(1 for _ in plane_indices(image))
    return f"{image.name} ({pluralize(count, 'plane')}, {seconds:.1f} s)"


def _warn_of_color(image: Image) -> None:
    """Warn that samples are taken as colors, because an undeclared stack can look like them."""
    samples = image.data.shape[image.axes.index("S")]
    stack = image.axes.replace("S", "Z")
    warnings.warn(
        f"{image.name} is read as a color image: each of its {samples} samples is deblurred as a "
        f"plane; if it is a stack, pass --axes {stack}",
        stacklevel=2,
    )
