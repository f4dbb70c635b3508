"""Training of a network: its steps, its validations, and its best model."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from napari_coordgate.config import (
    Device,
    RuntimeConfig,
    TrainingConfig,
    TrainingLength,
    as_settings,
    check_batch_size,
)
from napari_coordgate.data import Images, Pairs, Sample, Samples, prepare_pairs
from napari_coordgate.errors import CanceledError, ModelError, SettingsError, TrainingError
from napari_coordgate.events import Event, Preview, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.model import Model, as_model
from napari_coordgate.optics import PSFField, as_psf_field
from napari_coordgate.training.checkpoint import Checkpoint, TrainingFiles
from napari_coordgate.training.distributed import ProcessGroup, RankLostError
from napari_coordgate.training.learner import (
    Learner,
    cosine_factor,
    plateau,
    step_too_large,
    try_or_oom,
)
from napari_coordgate.training.own_images import Clean, prepare_own_pairs
from napari_coordgate.training.validation import (
    PreviewTimer,
    predict_sample,
    validate,
    with_source,
)

DEFAULTS, DEFAULT_RUNTIME = TrainingConfig(), RuntimeConfig()
DEFAULT_VALIDATIONS = 20
"""Validations in a training of a number of steps."""

T = TypeVar("T")


def train(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred: Images | None = None,
    blurred_only: Images | None = None,
    validation: Images | None = None,
    config: TrainingConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    output: str | Path | None = None,
    init: str | Path | Model | None = None,
    resume: bool = False,
    overwrite: bool = False,
    preview_seconds: float | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
    stop: threading.Event | None = None,
) -> Model:
    """Train a network to deblur.

    Training pairs are simulated: sharp images are blurred by the PSF field. Alternatively,
    pass measured pairs of sharp and blurred images, or blurred images alone.

    Parameters
    ----------
    sharp : path, ndarray of shape (..., H, W), Image, or sequence of these, optional
        Sharp images; a folder means all images in it. Not together with ``blurred_only``.
    psf_field : PSFField, str or Path, optional
        Blur of the lens, or the file of it. Not together with ``blurred``.
    blurred : same types as ``sharp``, optional
        Measured blurred images of the same scenes, whole frames. The files of two folders are
        matched by their stems, or by the numbers and words in which their names differ, and so
        are those of lists; arrays, and lists whose names cannot tell, are in the same order.
    blurred_only : same types as ``sharp``, optional
        Blurred images of the lens, whole frames, if there are no sharp ones. Where the lens is
        sharpest, the universal model deblurs them, and the results take the place of sharp images.
        Some photons of all images are held out, which the blur of what the network makes of the
        others has to predict. The noise is measured in the images unless the camera is given.
    validation : same types as ``sharp``, optional
        Sharp images to validate on; by default, a fraction of ``sharp`` is held out.
        Not together with ``blurred`` or ``blurred_only``.
    config : TrainingConfig
        Network and training recipe.
    runtime : RuntimeConfig
        Devices, processes and autosave.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device, instead of that of ``runtime``.
    output : str or Path, optional
        File of the best model by validation loss, suffix ``.safetensors``. Beside it, a
        checkpoint ``.last.safetensors`` is kept to resume from. By default, nothing is written.
    init : str, Path or Model, optional
        Model to fine-tune; its network must be the configured one.
    resume : bool
        Continue the interrupted training that was to write ``output``.
    overwrite : bool
        Replace an existing ``output``.
    preview_seconds : float, optional
        Interval between previews beside those of the validations, in seconds; they take
        at most a tenth of the time.
    callback : callable, optional
        Called with each event, see `train_events`.
    cancel : threading.Event, optional
        Set it to save a checkpoint and raise CanceledError.
    stop : threading.Event, optional
        Set it to validate, save, and return the best model so far.

    Returns
    -------
    Model
        Best model by validation loss.

    Raises
    ------
    SettingsError
        If arguments or settings contradict each other.
    ImageError, FrameMismatchError
        If images cannot be used; the message names them.
    ModelError, OutputError
        If a file cannot be read or written.
    DeviceMemoryError
        If the device runs out of memory; the message names a batch that fits.
    TrainingError
        If the training diverges, or another process of it ends.
    CanceledError
        If canceled, or stopped before the first step.

    References
    ----------
    .. [1] Howard, Norreys and Döpp, "CoordGate: Efficiently Computing Spatially-Varying
       Convolutions in Convolutional Neural Networks", section 4.2.
    .. [2] Monroy, Bacca and Tachella, "Generalized Recorrupted-to-Recorrupted: Self-Supervised
       Learning Beyond Gaussian Noise", CVPR 2025: loss on the photons held out.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import CGUNetConfig, GaussianLens, PSFField, TrainingConfig, train
    >>> sharp = np.random.default_rng(0).random((4, 32, 32))
    >>> psf_field = PSFField.from_lens(GaussianLens(), (32, 32))
    >>> network = CGUNetConfig(depth=2, base_channels=4)
    >>> config = TrainingConfig(network=network, steps=2, batch_size=2, window_size=16)
    >>> train(sharp, psf_field, config=config).step
    2
    """
    events = train_events(
        sharp,
        psf_field,
        blurred=blurred,
        blurred_only=blurred_only,
        validation=validation,
        config=config,
        runtime=runtime,
        device=device,
        output=output,
        init=init,
        resume=resume,
        overwrite=overwrite,
        preview_seconds=preview_seconds,
        cancel=cancel,
        stop=stop,
    )
    return run(events, callback)


def train_events(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred: Images | None = None,
    blurred_only: Images | None = None,
    validation: Images | None = None,
    config: TrainingConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    output: str | Path | None = None,
    init: str | Path | Model | None = None,
    resume: bool = False,
    overwrite: bool = False,
    preview_seconds: float | None = None,
    cancel: threading.Event | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event, None, Model]:
    """Train a network, as events; parameters, result and errors are those of `train`.

    Yields
    ------
    Progress
        After each image (stage ``reading images``), after each validation image
        (``validating``), and after each optimizer step (``training``) with its metrics ``loss``,
        ``learning_rate`` and ``step``, and those of a validation after it.
    Preview
        After each validation and every ``preview_seconds``: the first validation image, deblurred.
    """
    config = as_settings(config, TrainingConfig, "config")
    runtime = as_settings(runtime, RuntimeConfig, "runtime").on(device)
    psf_field = None if psf_field is None else as_psf_field(psf_field)
    with closing(TrainingFiles(output)) as files:
        group = _process_group(config, runtime)
        with group.sync_errors():
            if group.is_main and resume:
                files.lock()
            elif group.is_main:
                files.claim(overwrite=overwrite)
            if resume and init is not None:
                raise SettingsError("A resumed training continues its own weights; omit init.")
            checkpoint = files.load_last() if resume else None
            start = None if init is None else as_model(init)
        images = TrainingImages(sharp, blurred, blurred_only, validation)
        config, pairs, val_pairs = yield from group.run_on_main(
            _until_stopped(stop, prepare(config, images, psf_field, cancel=cancel))
        )
        with group.sync_errors():
            trainer = Trainer(config, runtime, pairs, val_pairs, psf_field, files, group)
            if checkpoint is not None:
                trainer.restore(checkpoint)
            elif start is not None:
                trainer.initialize(start)
        return (yield from trainer.train(cancel, stop, preview_seconds))


class TrainingImages(NamedTuple):
    """Images of a training: sharp ones, measured pairs, or blurred ones alone."""

    sharp: Images | None
    blurred: Images | None
    blurred_only: Images | None
    validation: Images | None


def prepare(
    config: TrainingConfig,
    images: TrainingImages,
    psf_field: PSFField | None,
    clean: Clean | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, tuple[TrainingConfig, Pairs, Pairs]]:
    """Training and validation pairs, and the recipe, with the noise if it was measured."""
    if (images.sharp is None) == (images.blurred_only is None):
        raise SettingsError("Give either sharp images, or blurred_only with images of the lens.")
    if images.sharp is not None:
        pairs = yield from prepare_pairs(
            config, images.sharp, psf_field, images.blurred, images.validation, cancel
        )
        return config, *pairs
    assert images.blurred_only is not None
    if images.blurred is not None or images.validation is not None:
        raise SettingsError(
            "Training on blurred images alone needs no others, and validates on a part of them; "
            "omit blurred and validation."
        )
    return (yield from prepare_own_pairs(config, images.blurred_only, psf_field, clean, cancel))


def _process_group(config: TrainingConfig, runtime: RuntimeConfig) -> ProcessGroup:
    """Process group of a training, in which every process has a share of each batch."""
    try:
        check_batch_size(config, runtime)
    except ValueError as error:
        raise SettingsError(f"{error}".capitalize()) from None
    return ProcessGroup(runtime, config.precision)


def _until_stopped(
    stop: threading.Event | None, events: Generator[Event, None, T]
) -> Generator[Event, None, T]:
    """Run a job that ends as canceled once ``stop`` is set."""
    while True:
        raise_if_canceled(stop, "Stopped before the first step; nothing was written.")
        try:
            event = next(events)
        except StopIteration as end:
            result: T = end.value
            return result
        yield event


class Trainer:
    """A training: its learner, its progress, and its best model so far."""

    def __init__(
        self,
        config: TrainingConfig,
        runtime: RuntimeConfig,
        pairs: Pairs,
        val_pairs: Pairs,
        psf_field: PSFField | None,
        files: TrainingFiles,
        group: ProcessGroup,
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.pairs = pairs
        self.val_pairs = val_pairs
        self.files = files
        self.group = group
        images, batch = len(pairs), config.batch_size
        self.epoch_steps = max(1, round(images / batch))
        # A batch may span two epochs, so that no image is ever left out.
        self.total = config.steps if config.epochs is None else -(-config.epochs * images // batch)
        self.learner = Learner(config, group, psf_field)
        self.plateau = self._build_plateau()
        self.step = 0
        self.history: tuple[dict[str, float], ...] = ()
        pixel_size_um = None if psf_field is None else psf_field.pixel_size_um
        self.best = Model(
            config, {}, pairs.frame_shape, pixel_size_um, psf_field, noise=pairs.camera
        )

    @property
    def validate_every(self) -> int:
        """Steps between validations."""
        if self.config.validate_every is not None:
            return self.config.validate_every
        if self.config.epochs is not None:
            return self.epoch_steps
        return max(1, self.total // DEFAULT_VALIDATIONS)

    @property
    def is_validated(self) -> bool:
        """Whether the weights of this step were validated."""
        return bool(self.history) and self.history[-1]["step"] == self.step

    @property
    def is_validation_due(self) -> bool:
        """Whether these weights must be validated before the next step."""
        on_schedule = self.step % self.validate_every == 0 or self.step == self.total
        return self.step > 0 and on_schedule and not self.is_validated

    def _build_plateau(self) -> ReduceLROnPlateau | None:
        if self.config.schedule != "plateau":
            return None
        validations = self.config.patience_epochs * self.epoch_steps / self.validate_every
        return plateau(self.learner.optimizer, max(1, round(validations)))

    def initialize(self, model: Model) -> None:
        """Start from the weights of a model instead of random ones."""
        if model.config.network != self.config.network:
            raise SettingsError(
                f"The model to fine-tune has another network ({model.config.network}); "
                "train with that network, or without a model."
            )
        self.learner.initialize(model.weights)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue an interrupted training exactly where it stopped."""
        self._check_same(checkpoint)
        model, progress = checkpoint.model, checkpoint.progress
        self.step = model.step
        self.history = model.history
        self.learner.averaged.module.load_state_dict(dict(model.weights))
        self.learner.averaged.n_averaged.fill_(self.step)
        try:
            checkpoint.restore(self.learner.network, self.learner.optimizer)
            self.learner.lr = float(progress["learning_rate"])
            if self.plateau is not None:
                self.plateau.load_state_dict(progress["plateau"])
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            raise ModelError(
                f"{self.files.last}: its state does not fit the training; start a new training."
            ) from None
        best = self.files.load_best() if self.history else None
        if best is not None:
            self.best = replace(best, config=self.config)

    def _check_same(self, checkpoint: Checkpoint) -> None:
        """Raise an error if the checkpoint is that of another training."""
        model = checkpoint.model
        changed = [
            name
            for name, value in self.config
            if name not in TrainingLength.model_fields and value != getattr(model.config, name)
        ]
        here, there = self.best.header(), model.header()
        changed += [name for name in ("frame_shape", "psf_field") if here[name] != there[name]]
        if checkpoint.progress["images"] != len(self.pairs):
            changed.append("number of sharp images")
        if changed:
            raise SettingsError(
                f"The interrupted training had another {', '.join(changed)}; start a new training."
            )
        if model.step > self.total:
            raise SettingsError(
                f"The interrupted training is already at step {model.step}; "
                f"set steps to more than that, not {self.total}."
            )

    def train(
        self,
        cancel: threading.Event | None,
        stop: threading.Event | None,
        preview_seconds: float | None = None,
    ) -> Generator[Event, None, Model]:
        """Train to the last step, with validations; saves a checkpoint if interrupted."""
        try:
            yield from self._steps(cancel, stop, PreviewTimer(preview_seconds))
        except (CanceledError, RankLostError) as error:
            self._save_last()
            is_lost = isinstance(error, RankLostError)
            cause = "Lost another process of the training" if is_lost else "Stopped"
            advice = (
                "; resume the training to continue (resume, --resume)." if self.files.last else "."
            )
            raise type(error)(
                f"{cause} after {self.step} of {pluralize(self.total, 'step')}{advice}"
            ) from None
        return self.best

    def _steps(
        self,
        cancel: threading.Event | None,
        stop: threading.Event | None,
        timer: PreviewTimer,
    ) -> Iterator[Event]:
        stopwatch = Stopwatch("training", self.total - self.step)
        first = self.step
        if self.is_validation_due:  # the training was canceled during this validation
            yield from self._validation_alone(stopwatch, first, cancel)
        batches = iter(self.loader())
        while self.step < self.total:
            is_canceled, is_stopped = self.group.any_reduce(
                *(event is not None and event.is_set() for event in (cancel, stop))
            )
            if is_canceled:
                raise CanceledError
            if is_stopped:
                break
            metrics = self.train_step(batches)
            preview = None
            if self.is_validation_due:
                validated, preview = yield from self._validate(cancel)
                metrics |= validated
                timer.restart()
            elif timer.is_due:
                preview = self._preview(timer)
            self._autosave()
            yield stopwatch.progress(self.step - first, step=self.step, **metrics)
            if preview is not None:
                yield preview
        if self.step == 0:
            raise CanceledError
        if not self.is_validated:  # it was stopped between two validations
            yield from self._validation_alone(stopwatch, first, cancel)

    def _validation_alone(
        self, stopwatch: Stopwatch, first: int, cancel: threading.Event | None
    ) -> Iterator[Event]:
        """Validate without a step before it."""
        metrics, preview = yield from self._validate(cancel)
        yield stopwatch.progress(self.step - first, step=self.step, **metrics)
        yield preview

    def loader(self) -> DataLoader[Sample]:
        """Samples of this rank for all further steps; global random numbers are left alone."""
        batch_size = self.config.batch_size
        share = self.group.share(batch_size)
        starts = range(self.step * batch_size, self.total * batch_size, batch_size)
        return DataLoader(
            Samples(self.pairs),
            batch_sampler=([start + index for index in share] for start in starts),
            num_workers=self.runtime.workers,
            collate_fn=list,
            generator=torch.Generator(),
        )

    def train_step(self, batches: Iterator[Sequence[Sample]]) -> dict[str, float]:
        """Take an optimizer step with the next samples; returns loss and learning rate."""
        config, group = self.config, self.group
        if self.plateau is None:
            factor = cosine_factor(self.step, self.total, config.warmup_steps)
            self.learner.lr = config.learning_rate * factor
        first = self.step * config.batch_size + group.share(config.batch_size).start
        with group.sync_errors():
            samples = next(batches)
            part = self._within_memory(
                samples,
                lambda: self.learner.backward(self.pairs.to_batch(samples, group.device, first)),
            )
        loss = self._within_memory(samples, lambda: self.learner.step(part))
        if not np.isfinite(loss):
            raise TrainingError(
                f"The training diverged at step {self.step} (loss: {loss}); "
                "choose a lower learning rate."
            )
        self.learner.averaged.update_parameters(self.learner.network)
        self.step += 1
        return {"loss": loss, "learning_rate": self.learner.lr}

    def _within_memory(self, samples: Sequence[Sample], compute: Callable[[], T]) -> T:
        """Result of a part of a step."""
        result = try_or_oom(compute)
        if result is None:
            raise step_too_large(samples, self.group.device, self.learner.fits_in_memory)
        return result

    def _preview(self, timer: PreviewTimer) -> Preview:
        """Preview between two validations."""
        start = time.perf_counter()
        network = self.learner.averaged.module
        preview, _ = predict_sample(network, self.val_pairs, 0, self.group.device, self.step)
        timer.restart(time.perf_counter() - start)
        return with_source(preview, self.val_pairs)

    def _validate(
        self, cancel: threading.Event | None
    ) -> Generator[Event, None, tuple[dict[str, float], Preview]]:
        """Validate the averaged weights; saves a checkpoint, and the model if it is the best."""
        network, count = self.learner.averaged.module, self.config.validation_images
        metrics, preview = yield from validate(
            network, self.val_pairs, count, self.group, self.step, cancel
        )
        # An extra validation after a stop must not affect the schedule of a resumed training.
        if self.plateau is not None and self.step % self.validate_every == 0:
            self.plateau.step(metrics["validation_loss"])
        self.history = (*self.history, {"step": float(self.step), **metrics})
        if metrics["validation_loss"] < self.best.metrics.get("validation_loss", np.inf):
            weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
            self.best = replace(
                self.best, weights=weights, step=self.step, metrics=metrics, history=self.history
            )
            if self.group.is_main:
                self.files.save_best(self.best)
        self._save_last()
        return metrics, preview

    def _autosave(self) -> None:
        """Save a checkpoint if the last one is too old."""
        if 0 < self.runtime.autosave_minutes <= self.files.minutes_unsaved:
            self._save_last()

    def _save_last(self) -> None:
        """Save a checkpoint to resume from."""
        if self.group.is_main:
            self.files.save_last(self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        """State to resume the training from this step."""
        model = replace(
            self.best,
            weights=self.learner.averaged.module.state_dict(),
            step=self.step,
            history=self.history,
            metrics=self.history[-1] if self.history else {},
        )
        progress = {
            "images": len(self.pairs),
            "learning_rate": self.learner.lr,
            "plateau": self.plateau.state_dict() if self.plateau else None,
        }
        return Checkpoint.capture(model, self.learner.network, self.learner.optimizer, progress)
