"""Command ``blur``: simulate images of a lens and a camera."""

import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import image_output, write_settings
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import BlurConfig
from napari_coordgate.errors import (
    FrameMismatchWarning,
    SettingsError,
)
from napari_coordgate.events import Event, Stopwatch, pluralize, raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image, plane_indices, read_image
from napari_coordgate.io.files import check_not_exists, check_not_source
from napari_coordgate.normalization import check_plane, convert_dtype
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate


def blur_images(
    images: Sequence[Path],
    psf: Path,
    folder: Path,
    given: CliSettings[BlurConfig],
    overwrite: bool,
) -> None:
    """Blur image files into a folder; they keep their names."""
    config = given.settings()
    targets = [folder / path.name for path in images]
    settings, text = folder / "blur.yaml", given.to_yaml(config)
    _check_targets(images, targets)
    has_same_settings = _has_settings(settings, text)
    check_not_exists(targets if has_same_settings else [*targets, settings], overwrite)
    psf_field = PSFField.load(psf)
    with cancel_on_signal() as cancel:
        follow(_blur_events(images, targets, psf_field, config, overwrite, cancel))
    if not has_same_settings:
        write_settings(settings, text, overwrite)
    say(f"{folder}: Blurred {pluralize(len(images), 'image')}.")


def _check_targets(images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Check that no image would be overwritten by another one or by itself."""
    name, count = Counter(path.name for path in images).most_common(1)[0]
    if count > 1:
        raise SettingsError(f"{count} images are named {name}; blur them into different folders.")
    for image, target in zip(images, targets, strict=True):
        check_not_source(image, target)


def _has_settings(path: Path, text: str) -> bool:
    """Whether a file contains the same settings, so that more images can be added to its folder."""
    if not path.is_file():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if not line.startswith("#")] == text.splitlines()


def _blur_events(
    images: Sequence[Path],
    targets: Sequence[Path],
    psf_field: PSFField,
    config: BlurConfig,
    overwrite: bool,
    cancel: threading.Event,
) -> Generator[Event]:
    """Blur each plane; all images are checked before the first one is written."""
    total = _check_images(images, psf_field.frame_shape)
    stopwatch = Stopwatch("blurring", total)
    done = 0
    for path, target in zip(images, targets, strict=True):
        for _ in _blur_image(read_image(path), target, psf_field, config, overwrite):
            done += 1
            yield stopwatch.progress(done)
            if done < total:
                message = f"Stopped after {done} of {pluralize(total, 'plane')}."
                raise_if_canceled(cancel, message)


def _check_images(images: Sequence[Path], frame_shape: tuple[int, int]) -> int:
    """Number of planes, all of them valid; warns if images are larger than the frame."""
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
            f"{larger} of {pluralize(len(images), 'image')} larger than the frame: the central "
            f"{frame_shape[0]} x {frame_shape[1]} pixels are used.",
            FrameMismatchWarning,
            stacklevel=2,
        )
    return total


def _blur_image(
    image: Image, target: Path, psf_field: PSFField, config: BlurConfig, overwrite: bool
) -> Iterator[None]:
    """Blur one image file; yields after each plane."""
    window = center_crop_window(image.frame_shape, psf_field.frame_shape, image.name)
    lengths = dict(zip("YX", window.shape, strict=True))
    shape = tuple(lengths.get(a, n) for a, n in zip(image.axes, image.data.shape, strict=True))
    dtype = image.data.dtype.newbyteorder("=")
    whole = Window.whole(image.frame_shape)
    scene = window if config.border == "mirror" else whole
    name_number = zlib.crc32(target.name.encode())
    pixel_size_um = psf_field.pixel_size_um
    if image.pixel_size_um is None and pixel_size_um is not None:
        image = replace(image, pixel_size_um=(pixel_size_um, pixel_size_um))
    with image_output(target, image, shape, dtype, overwrite) as out:
        for number, index in enumerate(plane_indices(image)):
            # The noise of an image must not depend on the other images.
            seed = np.random.default_rng([config.seed, name_number, number]).integers(2**62)
            sharp = image.data[index][scene.within(whole)]
            blurred = simulate(
                sharp, psf_field, config.camera, int(seed), scaling=config.scaling, name=image.name
            )
            out[index] = convert_dtype(blurred, dtype)
            yield
