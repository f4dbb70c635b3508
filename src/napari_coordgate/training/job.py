"""Training as a job: what stands in its way, where it starts from, what it leaves behind."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from napari_coordgate.config import RuntimeConfig, TrainingConfig, check_batch_size
from napari_coordgate.data import Images, prepare_pairs
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, reporting_end
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training.files import RunFiles
from napari_coordgate.training.ranks import ProcessGroup
from napari_coordgate.training.run import TrainingRun

__all__ = ["train"]

DEFAULT_RUNTIME = RuntimeConfig()


def train(
    config: TrainingConfig,
    sharp: Images,
    field: PSFField | None = None,
    *,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    blurred: Images | None = None,
    validation: Images | None = None,
    output: str | Path | None = None,
    init: str | Path | Model | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cancel: threading.Event | None = None,
    stop: threading.Event | None = None,
    preview_seconds: float | None = None,
) -> Generator[Event]:
    """Train a network to deblur.

    Parameters
    ----------
    config : TrainingConfig
        The network and how to train it.
    runtime : RuntimeConfig
        Device, processes and autosave.
    sharp : path, ndarray of shape (..., H, W), or sequence of either
        Sharp images; a folder stands for all images in it.
    field : PSFField, optional
        Blur of the lens, which makes the training pairs. Not given with ``blurred``.
    blurred : like ``sharp``, optional
        Measured blurred images of the same scenes, whole frames, in the same order.
    validation : like ``sharp``, optional
        Sharp images to validate on; when not given, a part of ``sharp`` is held back.
        Not given with ``blurred``.
    output : str or Path, optional
        Checkpoint to write, suffix ``.safetensors``: the best weights by validation
        loss. Beside it, `last_checkpoint_path` is kept for going on. Without
        it the checkpoint is only returned.
    init : str, Path or Checkpoint, optional
        Checkpoint to fine-tune; its network must be the configured one.
    resume : bool
        Go on with the run whose last checkpoint lies beside ``output``.
    overwrite : bool
        Replace a checkpoint of that name.
    cancel : threading.Event, optional
        Once set, the run is saved as it is and ends as canceled, at once; it can go on later.
    stop : threading.Event, optional
        Once set, the run is validated and completes with the best weights by now; it can
        go on later as well. Before the first step it is a cancel.
    preview_seconds : float, optional
        Also show previews between validations, about every so many seconds, but
        never for more than a tenth of the time. They change nothing in the training.

    Yields
    ------
    Progress
        After each image looked at (stage ``reading images``), after each validation
        image (``validating``), and after each optimizer step (``training``), with
        ``loss``, ``learning_rate`` and ``step``, and the figures of a validation after one. A
        validation that no step precedes, as first or last of a run that is resumed
        or stopped, is told by figures alone.
    Preview
        After each validation, and as ``preview_seconds`` tells: the first validation
        image as the averaged weights deblur it by now.
    Finished
        Once, at the end. If completed, its result is the best `Model`.
    """
    files = RunFiles(output)
    cancel, stop = cancel or threading.Event(), stop or threading.Event()

    def events() -> Iterator[Event]:
        _check(config, runtime)
        ranks = ProcessGroup(runtime, config.precision)
        with closing(files):
            with ranks.sync_errors():
                if ranks.leads:
                    _claim(files, resume, overwrite)
                start = _start(files, init, resume)
            pairs, held_back = yield from ranks.led(
                prepare_pairs(config, sharp, field, blurred, validation, _AnyOf(cancel, stop))
            )
            with ranks.sync_errors():
                run = TrainingRun(config, runtime, pairs, held_back, field, files, ranks)
                if start is not None and resume:
                    run.restore(start)
                elif start is not None:
                    run.initialize(start)
            yield from run.steps(cancel, stop, preview_seconds)

    return reporting_end(events(), files.written)


def _check(config: TrainingConfig, runtime: RuntimeConfig) -> None:
    try:
        check_batch_size(config, runtime)
    except ValueError as error:
        raise SettingsError(str(error)) from None


class _AnyOf(threading.Event):
    """Set once any of several events is."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


def _claim(files: RunFiles, resume: bool, overwrite: bool) -> None:
    """Make the files this run's own, if nothing stands in the way."""
    if resume:
        files.lock()
    else:
        files.claim(overwrite=overwrite)


def _start(files: RunFiles, init: str | Path | Model | None, resume: bool) -> Model | None:
    """Checkpoint to start from."""
    if not resume:
        return Model.load(init) if isinstance(init, str | Path) else init
    if init is not None:
        raise SettingsError("A run to go on with starts where it stopped; leave out init.")
    return files.load_last()
