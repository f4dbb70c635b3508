"""Estimates of the time and memory of a training, from a few steps that are discarded."""

import math
import statistics
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from napari_coordgate.config import Device, RuntimeConfig, TrainingConfig, as_settings
from napari_coordgate.data import Images
from napari_coordgate.devices import free_device_memory, resolve_device
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled, run
from napari_coordgate.model import Model, as_model
from napari_coordgate.networks import FEATURES_PER_PIXEL
from napari_coordgate.optics import PSFField, as_psf_field
from napari_coordgate.training.checkpoint import TrainingFiles
from napari_coordgate.training.distributed import ProcessGroup
from napari_coordgate.training.learner import Learner
from napari_coordgate.training.own_images import uncleaned
from napari_coordgate.training.trainer import (
    DEFAULT_RUNTIME,
    DEFAULTS,
    Trainer,
    TrainingImages,
    prepare,
)
from napari_coordgate.training.validation import validate

WARM_UP_STEPS = 2
"""First steps, which are slower and do not count."""
WEIGHT_COPIES = 5
"""Arrays of the weights' size: weights, gradient, two moments of Adam, averaged weights."""
GRADIENT_COPIES = 2
"""Gradients of the widest features that are in memory beside the saved activations."""
MAX_COUNTED_SIDE = 64
"""Maximum side of the windows whose gradient is counted, pixels."""


@dataclass(frozen=True)
class ResourceEstimate:
    """Time and memory of a training on this machine.

    Parameters
    ----------
    seconds_per_step : float
        Duration of an optimizer step; NaN if no step was tried because memory is too small.
    seconds : float
        Duration of the training with its validations, without reading the images.
    memory_bytes : int
        Peak memory of the training, beside the images and the program itself.
    free_bytes : int
        Memory that was free.
    device : str
        Device of the training.

    Examples
    --------
    >>> estimate = ResourceEstimate(0.1, 500.0, 350_000_000, 8_000_000_000, "cpu")
    >>> estimate.fits
    True
    >>> print(estimate)
    About 8 minutes on the cpu, at 0.1 s per step, with 350 MB of memory (8.0 GB are free).
    """

    seconds_per_step: float
    seconds: float
    memory_bytes: int
    free_bytes: int
    device: str

    @property
    def fits(self) -> bool:
        """Whether the free memory suffices."""
        return self.memory_bytes <= self.free_bytes

    def __str__(self) -> str:
        """One line for the user."""
        memory, free = (_size(size) for size in (self.memory_bytes, self.free_bytes))
        if not self.fits:
            return (
                f"The training needs about {memory} of memory, but {free} are free on the "
                f"{self.device}; lower the batch size or the window, crop the images, or choose a "
                "smaller network."
            )
        return (
            f"About {_duration(self.seconds)} on the {self.device}, at "
            f"{self.seconds_per_step:.2g} s per step, with {memory} of memory ({free} are free)."
        )


def estimate_resources(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred: Images | None = None,
    blurred_only: Images | None = None,
    validation: Images | None = None,
    config: TrainingConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    init: str | Path | Model | None = None,
    steps: int = 6,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> ResourceEstimate:
    """Estimate the time and memory of a training; nothing is kept or written.

    The time is measured in a few steps. The memory is not measured but computed, the same on
    every device: weights, gradient, moments and averaged weights, and the larger of the
    activations of a step and the ten feature maps of a validation frame. With the default
    settings on a CPU the process grew by 0.36 to 0.41 GB where 0.35 were estimated (frames of
    512 pixels), and by 0.19 where 0.12 were (256 pixels). With four times the batch or the
    window's area it grew by 0.53 to 0.63 for 0.46.

    On a CPU no step is tried that exceeds the free memory, because the system would kill the
    program.

    Parameters
    ----------
    sharp, psf_field, blurred, blurred_only, validation, config, runtime, device, init
        As for `train`.
    steps : int
        Steps to try; the first two do not count.
    callback : callable, optional
        Called with each `Progress` event.
    cancel : threading.Event, optional
        Set it to end the estimate with CanceledError.

    Returns
    -------
    ResourceEstimate
        The estimate; ``str`` of it is a line for users.

    Raises
    ------
    CoordGateError
        As for `train`; DeviceMemoryError if not even a single step fits.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import (
    ...     CGUNetConfig, GaussianLens, PSFField, TrainingConfig, estimate_resources
    ... )
    >>> sharp = np.random.default_rng(0).random((4, 32, 32))
    >>> psf_field = PSFField.from_lens(GaussianLens(), (32, 32))
    >>> config = TrainingConfig(network=CGUNetConfig(depth=2, base_channels=4), window_size=16)
    >>> estimate_resources(sharp, psf_field, config=config).fits
    True
    """
    events = estimate_resources_events(
        sharp,
        psf_field,
        blurred=blurred,
        blurred_only=blurred_only,
        validation=validation,
        config=config,
        runtime=runtime,
        device=device,
        init=init,
        steps=steps,
        cancel=cancel,
    )
    return run(events, callback)


def estimate_resources_events(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred: Images | None = None,
    blurred_only: Images | None = None,
    validation: Images | None = None,
    config: TrainingConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    init: str | Path | Model | None = None,
    steps: int = 6,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, ResourceEstimate]:
    """Estimate resources, as events; parameters, result and errors as for `estimate_resources`.

    Yields
    ------
    Progress
        After each image, each step and each validation.
    """
    config = as_settings(config, TrainingConfig, "config")
    runtime = as_settings(runtime, RuntimeConfig, "runtime").on(device)
    psf_field = None if psf_field is None else as_psf_field(psf_field)
    start = None if init is None else as_model(init)
    given = TrainingImages(sharp, blurred, blurred_only, validation)
    # What cleaning would make of blurred images costs the same in training as they do.
    config, pairs, val_pairs = yield from prepare(config, given, psf_field, uncleaned, cancel)
    group = ProcessGroup(runtime, config.precision)
    trainer = Trainer(config, runtime, pairs, val_pairs, psf_field, TrainingFiles(None), group)
    if start is not None:
        trainer.initialize(start)
    kind = resolve_device(runtime.device)
    free_bytes, memory_bytes = free_device_memory(kind), _memory_bytes(trainer)
    per_step = per_image = math.nan
    if kind.type != "cpu" or memory_bytes <= free_bytes:
        per_step = yield from _seconds_per_step(trainer, steps, cancel)
        per_image = yield from _seconds_per_image(trainer, cancel)
    validations = math.ceil(trainer.total / trainer.validate_every)
    images = min(len(val_pairs), config.validation_images)
    seconds = trainer.total * per_step + validations * images * per_image
    return ResourceEstimate(per_step, seconds, memory_bytes, free_bytes, kind.type)


def _memory_bytes(trainer: Trainer) -> int:
    """Peak memory of a training.

    Extrapolated from the gradients of one small window and of two, so that nothing large is
    tried before it is known to fit: the activations grow with batch size and area.
    """
    height, width = trainer.pairs.sampler.window_shape
    side = min(MAX_COUNTED_SIDE, height, width)
    one, two = (_gradient_bytes(trainer.learner, number, side) for number in (1, 2))
    windows = trainer.config.batch_size * height * width / side**2
    step = one + (windows - 1) * (two - one)
    height, width = trainer.val_pairs.frame_shape
    frame = FEATURES_PER_PIXEL * 4 * trainer.config.network.features * height * width
    weights = sum(weight.nbytes for weight in trainer.learner.network.parameters())
    return int(WEIGHT_COPIES * weights + max(step, frame))


def _gradient_bytes(learner: Learner, windows: int, side: int) -> int:
    """Bytes that the gradient of so many windows of this side needs beside the weights."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        learner.backward(learner.dummy_batch(windows, side))
    for weight in learner.network.parameters():
        storages.pop(weight.untyped_storage().data_ptr(), None)
    return sum(storages.values()) + GRADIENT_COPIES * max(storages.values())


def _seconds_per_step(
    trainer: Trainer, steps: int, cancel: threading.Event | None
) -> Generator[Event, None, float]:
    """Median duration of a step after the first ones."""
    stopwatch = Stopwatch("estimating", min(steps, trainer.total))
    times = [0.0]
    batches = iter(trainer.loader())
    while trainer.step < stopwatch.total:
        raise_if_canceled(cancel, "Stopped during the estimate; nothing was written.")
        trainer.train_step(batches)
        times.append(stopwatch.seconds)
        yield stopwatch.progress(trainer.step)
    each = [later - earlier for earlier, later in pairwise(times)]
    return statistics.median(each[WARM_UP_STEPS:] or each[-1:])


def _seconds_per_image(
    trainer: Trainer, cancel: threading.Event | None
) -> Generator[Event, None, float]:
    """Duration of a validation image; the first is slower and does not count."""
    network, start = trainer.learner.averaged.module, 0.0
    for _ in range(2):
        start = time.perf_counter()
        yield from validate(network, trainer.val_pairs, 1, trainer.group, trainer.step, cancel)
    return time.perf_counter() - start


def _size(size: int) -> str:
    """Rounded size in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    """Duration in words: ``50 seconds``, ``8 minutes``, ``3.5 hours``."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
