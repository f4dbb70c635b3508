"""Images as a camera behind the lens would record them."""

import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.output import image_output, write_settings
from napari_coordgate.cli.settings_flags import Given
from napari_coordgate.config import BlurConfig
from napari_coordgate.errors import (
    CanceledError,
    FrameMismatchWarning,
    OutputError,
    SettingsError,
)
from napari_coordgate.events import Event, Finished, Stopwatch, pluralize, reporting_end
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image, plane_indices, read_image
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.normalization import check_plane, convert_dtype
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate

__all__ = ["blur_images"]


def blur_images(
    images: Sequence[Path],
    psf: Path,
    folder: Path,
    given: Given[BlurConfig],
    overwrite: bool,
) -> None:
    """Blur images into a folder, where each keeps its name."""
    config = given.settings()
    targets = [folder / path.name for path in images]
    settings, text = folder / "blur.yaml", given.to_yaml(config)
    _check_targets(images, targets)
    add_to_run = _holds_settings(settings, text)
    check_not_exists(targets if add_to_run else [*targets, settings], overwrite)
    field = PSFField.load(psf)
    with cancel_on_signal() as cancel:
        events = _blur_events(images, targets, field, config, overwrite, cancel)
        end = follow(reporting_end(events))
    if not add_to_run:
        write_settings(settings, text, overwrite)
    typer.echo(f"{folder}: {end.message}")


def _check_targets(images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Raise an error if an image would be lost."""
    name, times = Counter(path.name for path in images).most_common(1)[0]
    if times > 1:
        raise SettingsError(f"{times} images are named {name}; blur them into different folders.")
    for image, target in zip(images, targets, strict=True):
        if image.resolve() == target.resolve():
            raise OutputError(f"{image} would replace itself; choose another folder.")


def _holds_settings(path: Path, text: str) -> bool:
    """Whether a file holds these very settings, so that more images can stand beside it."""
    if not path.is_file():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if not line.startswith("#")] == text.splitlines()


def _blur_events(
    images: Sequence[Path],
    targets: Sequence[Path],
    field: PSFField,
    config: BlurConfig,
    overwrite: bool,
    cancel: threading.Event,
) -> Iterator[Event]:
    """Blur each plane; all images are looked at before the first is written."""
    total = _look_at(images, field.frame_shape)
    stopwatch = Stopwatch("blurring", total)
    done = 0
    for path, target in zip(images, targets, strict=True):
        for _ in _blur_image(read_image(path), target, field, config, overwrite):
            done += 1
            yield stopwatch.progress(done)
            if cancel.is_set() and done < total:
                raise CanceledError(f"Stopped after {done} of {pluralize(total, 'plane')}.")
    yield Finished(
        "completed", f"Blurred {pluralize(len(images), 'image')}.", outputs=tuple(targets)
    )


def _look_at(images: Sequence[Path], frame_shape: tuple[int, int]) -> int:
    """Number of planes, all good to blur; warns of images that are larger than the frame."""
    total, larger = 0, 0
    for path in images:
        image = read_image(path)
        center_crop_window(image.frame_shape, frame_shape, image.name)
        larger += image.frame_shape != frame_shape
        for index in plane_indices(image):
            check_plane(image.view(index), image.name)
            total += 1
    if larger:
        warnings.warn(
            f"Larger than the frame: {larger} of {pluralize(len(images), 'image')}. Their central "
            f"{frame_shape[0]} x {frame_shape[1]} pixels are taken for it.",
            FrameMismatchWarning,
            stacklevel=2,
        )
    return total


def _blur_image(
    image: Image, target: Path, field: PSFField, config: BlurConfig, overwrite: bool
) -> Iterator[None]:
    """Blur one image; yields after each plane."""
    window = center_crop_window(image.frame_shape, field.frame_shape, image.name)
    lengths = dict(zip("YX", window.shape, strict=True))
    shape = tuple(lengths.get(a, n) for a, n in zip(image.axes, image.data.shape, strict=True))
    dtype = image.data.dtype.newbyteorder("=")
    whole = Window.whole(image.frame_shape)
    scene = window if config.border == "mirror" else whole
    name_number = zlib.crc32(target.name.encode())
    side = field.pixel_size_um
    if image.pixel_size_um is None and side is not None:
        image = replace(image, pixel_size_um=(side, side))  # as the simulation takes it
    with image_output(target, image, shape, dtype, overwrite) as out:
        for number, index in enumerate(plane_indices(image)):
            # The noise of an image depends on no other image.
            seed = np.random.default_rng([config.seed, name_number, number]).integers(2**62)
            sharp = image.data[index][scene.within(whole)]
            blurred = simulate(
                sharp, field, config.camera, int(seed), scaling=config.scaling, name=image.name
            )
            out[index] = convert_dtype(blurred, dtype)
            yield
