"""What a run will take: its time and its memory, from a few steps that are thrown away."""

import math
import statistics
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from napari_coordgate.config import RuntimeConfig, TrainingConfig
from napari_coordgate.data import Images, prepare_pairs
from napari_coordgate.devices import free_device_memory, resolve_device
from napari_coordgate.events import Event, Finished, Stopwatch, raise_if_canceled, reporting_end
from napari_coordgate.model import Model
from napari_coordgate.networks import FEATURES_PER_PIXEL
from napari_coordgate.optics import PSFField
from napari_coordgate.training.files import RunFiles
from napari_coordgate.training.learner import Learner
from napari_coordgate.training.ranks import ProcessGroup
from napari_coordgate.training.run import TrainingRun
from napari_coordgate.training.validation import validate

__all__ = ["ResourceEstimate", "estimate_resources"]

DEFAULT_RUNTIME = RuntimeConfig()
SETTLING_STEPS = 2
"""First steps, which are slower and do not count."""
COPIES = 5
"""Arrays of the weights' size: weights, gradient, two moments of Adam, averaged weights."""
GRADIENTS = 2
"""Gradients of the widest features that are in memory beside what was kept for the way back."""
COUNTED_SIDE = 64
"""Largest side of the windows whose gradient is counted, pixels."""


@dataclass(frozen=True)
class ResourceEstimate:
    """What a run will take on this machine.

    Attributes
    ----------
    seconds_per_step : float
        Time of an optimizer step; NaN where it was not tried, as the memory is too small.
    seconds : float
        Time of the whole run with its validations, without the reading of the images.
    memory_bytes : int
        Memory of the training at its height, beside the images and the program itself.
    free_bytes : int
        Memory that was free for it.
    device : str
        Where it would run.
    """

    seconds_per_step: float
    seconds: float
    memory_bytes: int
    free_bytes: int
    device: str

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.memory_bytes <= self.free_bytes

    def __str__(self) -> str:
        """One line for the user."""
        memory, free = (f"{size / 1e9:.1f} GB" for size in (self.memory_bytes, self.free_bytes))
        if not self.fits:
            return (
                f"The training needs about {memory} of memory, but {free} are free on the "
                f"{self.device}; lower the batch size or the window, crop the images, or choose a "
                "smaller network."
            )
        return (
            f"About {_in_words(self.seconds)} on the {self.device}, at "
            f"{self.seconds_per_step:.2g} s a step, with {memory} of memory ({free} are free)."
        )


def estimate_resources(
    config: TrainingConfig,
    sharp: Images,
    field: PSFField | None = None,
    *,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    blurred: Images | None = None,
    validation: Images | None = None,
    init: str | Path | Model | None = None,
    cancel: threading.Event | None = None,
    steps: int = 6,
) -> Generator[Event]:
    """Find out what a run will take, by a few steps of it; nothing is kept or written.

    The memory is not measured but counted, the same on every device: weights,
    gradient, moments and averaged weights, and either what a step keeps for its
    way back or what a validation holds of a whole frame (ten feature maps, an
    estimate), whichever is more. With the defaults on a CPU the process grew by
    0.36 to 0.41 GB where 0.35 were told (frames of 512 pixels), and by 0.19 where
    0.12 were (256 pixels): there some 0.05 GB for the libraries' own use counts.
    With four times the batch or the window's area it was 0.53 to 0.63 for 0.46.

    On a CPU no step is tried that the free memory does not hold, for the system
    would end the program.

    Parameters
    ----------
    config, sharp, field, runtime, blurred, validation, init
        As for `train`.
    cancel : threading.Event, optional
        Once set, the rehearsal ends.
    steps : int
        Steps to try; the first two do not count.

    Yields
    ------
    Progress
        After each image looked at, each step and each validation.
    Finished
        Once, at the end. If completed, its result is an `ResourceEstimate`. Where the
        memory does not even suffice for the trial, it failed, and names what fits.
    """
    canceled = cancel or threading.Event()

    def events() -> Iterator[Event]:
        start = Model.load(init) if isinstance(init, str | Path) else init
        pairs, held_back = yield from prepare_pairs(
            config, sharp, field, blurred, validation, canceled
        )
        ranks = ProcessGroup(runtime, config.precision)
        run = TrainingRun(config, runtime, pairs, held_back, field, RunFiles(None), ranks)
        if start is not None:
            run.initialize(start)
        yield from _rehearsal(run, canceled, steps)

    return reporting_end(events())


def _rehearsal(run: TrainingRun, cancel: threading.Event, steps: int) -> Iterator[Event]:
    config = run.config
    device = resolve_device(run.runtime.device)
    free_bytes = free_device_memory(device)
    memory_bytes = _memory_bytes(run)
    a_step = an_image = math.nan
    if device.type != "cpu" or memory_bytes <= free_bytes:
        a_step = yield from _seconds_per_step(run, steps, cancel)
        an_image = yield from _seconds_per_image(run, cancel)
    validations = math.ceil(run.total / run.validate_every)
    images = min(len(run.validation), config.validation_images)
    seconds = run.total * a_step + validations * images * an_image
    estimate = ResourceEstimate(a_step, seconds, memory_bytes, free_bytes, device.type)
    yield Finished("completed", str(estimate), result=estimate)


def _memory_bytes(run: TrainingRun) -> int:
    """Memory of a run at its height.

    Counted from the gradients of one small window and of two, so that nothing large
    is tried before it is known to fit; what they keep grows with batch and area.
    """
    height, width = run.pairs.sampler.window_shape
    side = min(COUNTED_SIDE, height, width)
    one, two = (_gradient_bytes(run.learner, number, side) for number in (1, 2))
    windows = run.config.batch_size * height * width / side**2
    a_step = one + (windows - 1) * (two - one)
    height, width = run.validation.frame_shape
    a_frame = FEATURES_PER_PIXEL * 4 * run.config.network.base_channels * height * width
    weights = sum(weight.nbytes for weight in run.learner.network.parameters())
    return int(COPIES * weights + max(a_step, a_frame))


def _gradient_bytes(learner: Learner, windows: int, side: int) -> int:
    """Bytes that the gradient of so many windows of this side needs beside the weights."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        learner.gradient(learner.blank(windows, side))
    for weight in learner.network.parameters():
        storages.pop(weight.untyped_storage().data_ptr(), None)
    return sum(storages.values()) + GRADIENTS * max(storages.values())


def _seconds_per_step(
    run: TrainingRun, steps: int, cancel: threading.Event
) -> Generator[Event, None, float]:
    """Time of a step once the first ones are done."""
    stopwatch = Stopwatch("rehearsing", min(steps, run.total))
    times = [0.0]
    batches = iter(run.loader())
    while run.step < stopwatch.total:
        raise_if_canceled(cancel, "Stopped while rehearsing; nothing was written.")
        run.train_step(batches)
        times.append(stopwatch.seconds)
        yield stopwatch.progress(run.step)
    each = [later - earlier for earlier, later in pairwise(times)]
    return statistics.median(each[SETTLING_STEPS:] or each[-1:])


def _seconds_per_image(run: TrainingRun, cancel: threading.Event) -> Generator[Event, None, float]:
    """Time of one image of a validation; the first is slower and does not count."""
    network, start = run.learner.averaged.module, 0.0
    for _ in range(2):
        start = time.perf_counter()
        yield from validate(network, run.validation, 1, run.ranks, run.step, cancel)
    return time.perf_counter() - start


def _in_words(seconds: float) -> str:
    """Time in its unit: ``50 seconds``, ``8 minutes``, ``3.5 hours``."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
