"""Look at all images before the training, and hold some back for validation."""

import threading
from collections.abc import Generator, Sequence

from napari_coordgate.config import TrainingConfig
from napari_coordgate.data.measured import MeasuredPairs
from napari_coordgate.data.planes import Images, Plane, find_planes
from napari_coordgate.data.sampling import RngStream, random_stream
from napari_coordgate.data.simulated import SimulatedPairs
from napari_coordgate.errors import (
    FrameMismatchError,
    ImageError,
    SettingsError,
)
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.normalization import Normalizer, fit_normalizer
from napari_coordgate.optics import PSFField

__all__ = ["Pairs", "prepare_pairs"]

COMPLAINTS_TOLD = 3

Pairs = SimulatedPairs | MeasuredPairs


def prepare_pairs(
    config: TrainingConfig,
    sharp: Images,
    field: PSFField | None,
    blurred: Images | None,
    validation: Images | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, tuple[Pairs, Pairs]]:
    """Look at every image once, and split them into training and validation pairs.

    A single image serves both: its validation then says nothing of other images.

    Parameters
    ----------
    config : TrainingConfig
        How to train.
    sharp : path, array of shape (..., H, W), or sequence of either
        Sharp images.
    field : PSFField, optional
        Blur of the lens; not given with ``blurred``.
    blurred : like ``sharp``, optional
        Measured blurred images, whole frames, in the order of the sharp ones.
    validation : like ``sharp``, optional
        Sharp images to validate on, in place of a part of ``sharp`` that is held back.
    cancel : threading.Event, optional
        Once set, the reading ends.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    training, validation : SimulatedPairs or MeasuredPairs
        The pairs.

    Raises
    ------
    SettingsError
        If neither or both of ``field`` and ``blurred`` are given, or ``validation``
        with ``blurred``.
    ImageError
        If images cannot be trained on; the message names them.
    FrameMismatchError
        If measured images are not of one frame.
    CanceledError
        If the reading was canceled.
    """
    if field is not None and blurred is None:
        held_out = [] if validation is None else find_planes(validation)
        return (yield from _simulated(config, find_planes(sharp), held_out, field, cancel))
    if blurred is not None and field is None:
        if validation is not None:
            raise SettingsError("Measured pairs validate on a part of themselves; leave it out.")
        return (yield from _measured(config, find_planes(sharp), find_planes(blurred), cancel))
    raise SettingsError("Give either a PSF field or measured blurred images.")


def _simulated(
    config: TrainingConfig,
    sharp: list[Plane],
    held_out: list[Plane],
    field: PSFField,
    cancel: threading.Event | None,
) -> Generator[Event, None, tuple[SimulatedPairs, SimulatedPairs]]:
    planes = [*sharp, *held_out]
    ranges = yield from _compute_ranges(planes, config, cancel)
    parts = _split(len(sharp), config)
    if held_out:
        parts = list(range(len(sharp))), list(range(len(sharp), len(planes)))
    training, validation = (
        SimulatedPairs(
            [planes[n] for n in part],
            [ranges[n] for n in part],
            field,
            config,
            validation=held_back,
        )
        for held_back, part in zip((False, True), parts, strict=True)
    )
    return training, validation


def _measured(
    config: TrainingConfig,
    sharp: list[Plane],
    blurred: list[Plane],
    cancel: threading.Event | None,
) -> Generator[Event, None, tuple[MeasuredPairs, MeasuredPairs]]:
    if len(sharp) != len(blurred):
        raise FrameMismatchError(
            f"{len(sharp)} sharp and {len(blurred)} blurred images make no pairs; "
            "give one blurred image for each sharp one, in the same order."
        )
    ranges = yield from _compute_ranges([*blurred, *sharp], config, cancel)
    frame_shape = _one_frame([*blurred, *sharp])
    training, validation = (
        MeasuredPairs(
            [sharp[n] for n in part],
            [blurred[n] for n in part],
            [ranges[n] for n in part],
            frame_shape,
            config,
            validation=held_back,
        )
        for held_back, part in zip((False, True), _split(len(sharp), config), strict=True)
    )
    return training, validation


def _split(images: int, config: TrainingConfig) -> tuple[list[int], list[int]]:
    """Numbers of the images to train on, and of those held back; they share a single image."""
    numbers: list[int] = random_stream(config.seed, RngStream.SPLIT).permutation(images).tolist()
    wanted = max(1, round(config.validation_fraction * images))
    held_back = min(wanted, max(1, images - 1))
    return numbers[held_back:] or numbers, numbers[:held_back]


def _compute_ranges(
    found: Sequence[Plane], config: TrainingConfig, cancel: threading.Event | None
) -> Generator[Event, None, list[Normalizer]]:
    """Intensity range of every plane; one error for all that cannot be used."""
    stopwatch = Stopwatch("reading images", len(found))
    ranges, complaints = [], []
    for number, plane in enumerate(found):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        try:
            pixels = plane.read()
            ranges.append(fit_normalizer(pixels, config.scaling, plane.name))
        except ImageError as error:
            complaints.append(str(error))
        yield stopwatch.progress(number + 1)
    if complaints:
        told, more = complaints[:COMPLAINTS_TOLD], len(complaints) - COMPLAINTS_TOLD
        if more > 0:
            told.append(f"And {more} more like these.")
        raise ImageError(" ".join(told))
    return ranges


def _one_frame(planes: Sequence[Plane]) -> tuple[int, int]:
    """Shape of the frame that all measured images share."""
    shape = planes[0].shape
    for plane in planes:
        if plane.shape != shape:
            raise FrameMismatchError(
                f"{plane.name} has shape {plane.shape}, but {planes[0].name} {shape}; "
                "measured pairs must all be whole frames of one size."
            )
    return shape
