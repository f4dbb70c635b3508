"""Commands that make one image of another: deblurring with a model, and deconvolution."""

import threading
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.batch.worker import method_files
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import command_line, image_output, settings_path, write_settings
from napari_coordgate.cli.settings_flags import CliSettings, flag_of
from napari_coordgate.config import (
    BatchSettings,
    Compression,
    DeblurConfig,
    DeblurRuntime,
    FileConfig,
    RichardsonLucySettings,
    UniversalConfig,
    WienerSettings,
    load_lens,
)
from napari_coordgate.deconvolution import deconvolve_events
from napari_coordgate.errors import CanceledError, CoordGateError, SettingsError
from napari_coordgate.events import Event, pluralize
from napari_coordgate.inference import deblur_events, output_dtype, selected_methods
from napari_coordgate.io import (
    Image,
    Scene,
    file_name_part,
    find_scenes,
    open_scene,
    plane_indices,
    read_image,
    select_scenes,
)
from napari_coordgate.io.files import check_not_exists, check_not_source, name_and_hash
from napari_coordgate.io.image import color_warning
from napari_coordgate.io.lens_library import LENS_SUFFIXES, find_lens, kept_lens_files
from napari_coordgate.io.metadata import processing_facts
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

IMAGE_SETTINGS = (
    FileConfig.model_fields.keys() | DeblurRuntime.model_fields.keys() | {"trust", "compression"}
)
"""Settings of a batch that also apply to a single image."""
DECONVOLUTION = {"deconvolution", "camera"}
"""Settings that apply to a lens alone, and not to a model trained for it."""
TILES = {"tile", "memory_gb"}
"""Settings that apply to networks alone."""

Process = Callable[[Any, threading.Event], Generator[Event, None, NDArray[Any]]]
"""Starts a job that fills an array and can be canceled."""


class ImageSource(NamedTuple):
    """A file with its scenes, which are found once, and the name of one of them."""

    path: Path
    scenes: Sequence[Scene]
    scene: str


@dataclass(frozen=True)
class MethodFiles:
    """Files that deblur: a model, or the blur of a lens and perhaps a universal model."""

    model: Path | None
    blur: Path | None
    """PSF field or lens."""
    channels: Mapping[str, Path] = field(default_factory=dict)
    """Model, PSF field or lens of each channel, in place of the others."""

    @classmethod
    def from_flags(cls, models: Sequence[str] | None, psf: Path | None, lens: Path | None) -> Self:
        """Files of the flags ``--model``, ``--psf`` and ``--lens``."""
        channels = _channel_files(models or [])
        if channels and (psf is not None or lens is not None):
            raise SettingsError(
                "Give the model, PSF field or lens of each channel (-m DAPI=FILE) without --psf or "
                "--lens."
            )
        if channels:
            blurs = [file for file in channels.values() if is_blur(file)]
            first = next(iter(channels.values()))
            return cls(None if blurs else first, blurs[0] if blurs else None, channels)
        model = Path(models[0]) if models else None
        if psf is not None and lens is not None:
            raise SettingsError("Give either a PSF field (--psf) or a lens (--lens).")
        if model is None and psf is None and lens is None:
            raise SettingsError(
                "Give a PSF field (--psf) or a lens (--lens), or a model for this lens (--model)."
            )
        return cls(model, psf if lens is None else find_lens_file(lens))

    def check(self) -> None:
        """Raise what is wrong with the kinds and contents of the files."""
        for path in self.channels.values() or [self.method]:
            if not is_blur(path) and self.blur != path:
                Model.load(path)
            elif path.suffix.lower() in LENS_SUFFIXES:
                load_lens(path)
            else:
                PSFField.load(path)

    @property
    def methods(self) -> Path | Mapping[str, Path]:
        """Method, or that of each channel."""
        return self.channels or self.method

    def selected(self, image: Image, settings: BatchSettings) -> Path | Mapping[str, Path]:
        """Method, or that of each selected channel of an image."""
        return selected_methods(self.channels, image, settings.selection.channels) or self.method

    def facts(self, settings: BatchSettings) -> dict[str, str]:
        """Names and checksums of the files by what they are for."""
        files = method_files(self.channels or {"": self.method}, settings)
        # A missing file is reported where it is loaded.
        return {name: name_and_hash(path) for name, path in files.items() if path.is_file()}

    @property
    def method(self) -> Path:
        """File that is passed alone where the settings name the universal model."""
        path = self.model if self.blur is None else self.blur
        assert path is not None
        return path

    def settings(self, given: CliSettings[BatchSettings], **values: Any) -> BatchSettings:
        """Settings from flags and their file; of a lens with the default method if none is given.

        A flag that has no effect on the method is an error.
        """
        file = dict(given.file)
        if self.blur is None:
            file = {name: value for name, value in file.items() if name not in DECONVOLUTION}
        else:
            file["deconvolution"] = self._deconvolution(file.get("deconvolution") or {})
        settings = replace(given, file=file).settings(values)
        if wrong := given.flags.keys() & self.other_settings(settings):
            used = settings.deconvolution
            what = "models" if self.blur is None or used is None else used.method
            instead = "--psf or --lens" if self.blur is None else "a trained --model"
            raise SettingsError(
                f"{flag_of(given.flags, min(wrong))} has no effect on {what}; omit it, or give "
                f"{instead} instead."
            )
        return settings

    def _deconvolution(self, given: dict[str, Any]) -> dict[str, Any]:
        """Settings of a deconvolution in a file, with the universal model of the flags."""
        if self.model is None:
            return given
        kept = given if given.get("method") == "universal" else {}
        return {**kept, "method": "universal", "weights": self.model}

    def other_settings(self, settings: BatchSettings) -> set[str]:
        """Settings that do not apply to the method."""
        if self.blur is None:
            return DECONVOLUTION
        is_network = isinstance(settings.deconvolution, UniversalConfig)
        return {"precision"} if is_network else {"precision", *TILES}


def _channel_files(models: Sequence[str]) -> dict[str, Path]:
    """Files by channel of flags such as ``DAPI=a.safetensors``; none of a single model."""
    if len(models) <= 1 and not any("=" in model and not Path(model).exists() for model in models):
        return {}
    named = [model.rpartition("=") for model in models]
    if any(not (name and file) for name, _, file in named):
        raise SettingsError(
            f"Of the models {', '.join(models)}, one names no channel; give each as CHANNEL=FILE: "
            "-m DAPI=a.safetensors -m GFP=b.safetensors."
        )
    return {name: Path(file) for name, _, file in named}


def is_blur(file: Path) -> bool:
    """Whether a file is a PSF field or a lens, and not a model, by its suffix."""
    return file.suffix.lower() in (".tif", ".tiff", *LENS_SUFFIXES)


def find_lens_file(lens: Path) -> Path:
    """File of a lens, or of the kept one with this name; raises SettingsError if it is none."""
    find_lens(lens)
    return lens if lens.exists() else kept_lens_files()[str(lens)]


def deblur_scenes(
    path: Path,
    output: Path,
    wanted: str | None,
    overwrite: bool,
    deblur_scene: Callable[[ImageSource, Path], None],
) -> int:
    """Deblur the wanted images of a file one by one; the function gets one and its output.

    Returns 1 if an image could not be deblurred while others could be tried, else 0.
    """
    scenes = find_scenes(path)
    outputs = scene_outputs(path, scenes, output, wanted)
    if len(outputs) == 1:
        scene, target = next(iter(outputs.items()))
        deblur_scene(ImageSource(path, scenes, scene), target)
        return 0
    written = (file for target in outputs.values() for file in (target, settings_path(target)))
    check_not_exists(written, overwrite)
    failed = 0
    for scene, target in outputs.items():
        try:
            deblur_scene(ImageSource(path, scenes, scene), target)
        except CanceledError:
            raise
        except CoordGateError as error:  # one bad image must not cost the others
            text = str(error) if scene in str(error) else f"scene {scene}: {error}"
            say(f"failed: {text}", err=True)
            failed += 1
    done = f"{len(outputs) - failed} of {pluralize(len(outputs), 'image')}"
    say(f"{path}: Deblurred {done}.")
    return int(failed > 0)


def scene_outputs(
    path: Path, scenes: Sequence[Scene], output: Path, wanted: str | None
) -> dict[str, Path]:
    """Wanted images of a file by name, and the file for the result of each."""
    names = [scene.name for scene in scenes]
    chosen = [names[number] for number in select_scenes(names, wanted, path)]
    if len(chosen) == 1:
        return {chosen[0]: output}
    end = "".join(output.suffixes[-2:]) if ".ome." in output.name.lower() else output.suffix
    targets: dict[str, Path] = {}
    taken: set[str] = set()
    for name in chosen:
        stem = f"{output.name.removesuffix(end)}.{file_name_part(name)}"
        while stem.lower() in taken:
            stem += "-"
        taken.add(stem.lower())
        targets[name] = output.with_name(stem + end)
    return targets


def deblur_image(
    source: ImageSource,
    files: MethodFiles,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> None:
    """Deblur an image of a file; axes and pixel size are kept."""
    image, methods, settings = open_image(source, files, [output], axes, given, overwrite)

    def process(out: Any, cancel: threading.Event) -> Generator[Event, None, NDArray[Any]]:
        return deblur_events(
            image,
            methods,
            origin=origin,
            config=settings.select(DeblurConfig),
            runtime=settings.select(DeblurRuntime),
            out=out,
            cancel=cancel,
        )

    dtype = output_dtype(image.data, settings)
    seconds = _write_processed(image, output, dtype, process, overwrite, settings.compression)
    write_image_settings(output, files, settings, given, overwrite)
    say(f"{output}: Deblurred {summary(image, seconds)}.")


def open_image(
    source: ImageSource,
    files: MethodFiles,
    outputs: Sequence[Path],
    axes: str | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> tuple[Image, Path | Mapping[str, Path], BatchSettings]:
    """Selected part of an image file, its method, and the settings.

    Raises what is wrong before the work.
    """
    settings = files.settings(given)
    folder_flags = given.flags.keys() - IMAGE_SETTINGS
    if folder_flags:
        raise SettingsError(
            f"--{min(folder_flags)} is for folders, but {source.path} is an image; omit it."
        )
    for output in outputs:
        check_not_source(source.path, output)
    check_not_exists([*outputs, settings_path(outputs[0])], overwrite)
    files.check()
    image = open_scene(*source, axes)
    if axes is None and (warning := color_warning(image)):
        warnings.warn(warning, stacklevel=2)
    selected, methods = image.select(settings.selection), files.selected(image, settings)
    processing = processing_facts(
        _settings_text(files, settings, given), command=command_line(), **files.facts(settings)
    )
    return replace(selected, processing=processing), methods, settings


def write_image_settings(
    output: Path,
    files: MethodFiles,
    settings: BatchSettings,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> None:
    """Write the settings of a deblurred image beside it."""
    write_settings(settings_path(output), _settings_text(files, settings, given), overwrite)


def _settings_text(
    files: MethodFiles, settings: BatchSettings, given: CliSettings[BatchSettings]
) -> str:
    """Settings that apply to the image, as YAML."""
    names = (set(given.names) & IMAGE_SETTINGS) - files.other_settings(settings)
    return settings.to_yaml(names)


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
    for source in (path, psf):
        check_not_source(source, output)
    check_not_exists([output, settings_path(output)], overwrite)
    psf_field = PSFField.load(psf)
    processing = processing_facts(
        config.to_yaml(), command=command_line(), method=name_and_hash(psf)
    )
    image = replace(read_image(path, axes), processing=processing)

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
    say(f"{output}: Deconvolved {summary(image, seconds)}.")


def _write_processed(
    image: Image,
    output: Path,
    dtype: np.dtype[Any],
    process: Process,
    overwrite: bool,
    compression: Compression = "auto",
) -> float:
    """Write the result of a job, of the image's shape and axes; returns the seconds it took."""
    start = time.perf_counter()
    with (
        cancel_on_signal() as cancel,
        image_output(
            output, image, image.data.shape, dtype, overwrite, compression=compression
        ) as out,
    ):
        follow(process(out, cancel))
        return time.perf_counter() - start


def summary(image: Image, seconds: float) -> str:
    """Name of an image, its planes, and the time it took."""
    count = sum(1 for _ in plane_indices(image))
    return f"{image.name} ({pluralize(count, 'plane')}, {seconds:.1f} s)"
