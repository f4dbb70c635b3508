"""One run: its steps, its validations, and what was reached."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from napari_coordgate.config import RuntimeConfig, TrainingConfig, TrainingLength
from napari_coordgate.data import Pairs, Sample
from napari_coordgate.errors import CanceledError, SettingsError, TrainingError
from napari_coordgate.events import Event, Finished, Preview, Stopwatch, pluralize
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training.files import RunFiles
from napari_coordgate.training.learner import Learner
from napari_coordgate.training.memory import step_too_large, try_or_oom
from napari_coordgate.training.ranks import ProcessGroup, RankLostError
from napari_coordgate.training.schedule import cosine_factor, plateau
from napari_coordgate.training.state import load_tensors, state_tensors
from napari_coordgate.training.validation import PreviewTimer, predict_sample, validate

__all__ = ["TrainingRun"]

VALIDATIONS_OF_A_RUN = 20

T = TypeVar("T")


class TrainingRun:
    """State of one run: what learns, how far it has come, and what was reached.

    Parameters
    ----------
    config : TrainingConfig
        The network and how to train it.
    runtime : RuntimeConfig
        Data loading and autosave.
    pairs, validation : Pairs
        Where training and validation samples come from.
    field : PSFField or None
        The blur, kept in the checkpoint.
    files : RunFiles
        What is written.
    ranks : Ranks
        Who trains, and where.
    """

    def __init__(
        self,
        config: TrainingConfig,
        runtime: RuntimeConfig,
        pairs: Pairs,
        validation: Pairs,
        field: PSFField | None,
        files: RunFiles,
        ranks: ProcessGroup,
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.pairs = pairs
        self.validation = validation
        self.files = files
        self.ranks = ranks
        self.device = ranks.device
        images, batch = len(pairs), config.batch_size
        self.epoch_steps = max(1, round(images / batch))
        # A batch may span two epochs, so that no image is ever left out.
        self.total = config.steps if config.epochs is None else -(-config.epochs * images // batch)
        self.learner = Learner(config, ranks, field)
        self.plateau = self._build_plateau()
        self.step = 0
        self.history: tuple[dict[str, float], ...] = ()
        pixel_size_um = None if field is None else field.pixel_size_um
        self.best = Model(config, {}, pairs.frame_shape, pixel_size_um, field)

    @property
    def validate_every(self) -> int:
        """Steps between validations; a plateau is judged by epochs."""
        if self.config.validate_every is not None:
            return self.config.validate_every
        if self.config.epochs is not None:
            return self.epoch_steps
        return max(1, self.total // VALIDATIONS_OF_A_RUN)

    @property
    def is_validated(self) -> bool:
        """Whether the weights of this very step were validated."""
        return bool(self.history) and self.history[-1]["step"] == self.step

    @property
    def is_validation_due(self) -> bool:
        """Whether these weights are to be validated before the next step."""
        on_schedule = self.step % self.validate_every == 0 or self.step == self.total
        return self.step > 0 and on_schedule and not self.is_validated

    def _build_plateau(self) -> ReduceLROnPlateau | None:
        if self.config.schedule != "plateau":
            return None
        validations = self.config.patience_epochs * self.epoch_steps / self.validate_every
        return plateau(self.learner.optimizer, max(1, round(validations)))

    def initialize(self, checkpoint: Model) -> None:
        """Start from a checkpoint's weights instead of random ones."""
        if checkpoint.config.network != self.config.network:
            raise SettingsError(
                f"The checkpoint to fine-tune holds another network ({checkpoint.config.network}); "
                "train with that one, or without it."
            )
        self.learner.initialize(checkpoint.weights)

    def restore(self, checkpoint: Model) -> None:
        """Take up a run exactly where it stopped."""
        changed = [
            name
            for name, value in self.config
            if name not in TrainingLength.model_fields and value != getattr(checkpoint.config, name)
        ]
        here, there = self._last().header(), checkpoint.header()
        changed += [name for name in ("frame_shape", "psf_field") if here[name] != there[name]]
        if checkpoint.progress["images"] != len(self.pairs):
            changed.append("number of sharp images")
        if changed:
            raise SettingsError(
                f"The run to go on with had another {', '.join(changed)}; start a new run."
            )
        if checkpoint.step > self.total:
            raise SettingsError(
                f"The run to go on with is already at step {checkpoint.step}; "
                f"ask for more steps than that, not {self.total}."
            )
        self.step = checkpoint.step
        self.history = checkpoint.history
        self.learner.averaged.module.load_state_dict(dict(checkpoint.weights))
        self.learner.averaged.n_averaged.fill_(self.step)
        load_tensors(checkpoint.state, self.learner.network, self.learner.optimizer)
        self.learner.rate = checkpoint.progress["learning_rate"]
        if self.plateau is not None:
            self.plateau.load_state_dict(checkpoint.progress["plateau"])
        best = self.files.load_best() if self.history else None
        if best is not None:
            self.best = replace(best, config=self.config)

    def steps(
        self,
        cancel: threading.Event,
        stop: threading.Event,
        preview_seconds: float | None = None,
    ) -> Iterator[Event]:
        """Train to the last step, with a validation now and then.

        Parameters
        ----------
        cancel : threading.Event
            Once set, the run is saved as it is and ends, to go on later.
        stop : threading.Event
            Once set, the run is validated and saved, and completes as it is.
        preview_seconds : float, optional
            Time between previews beside those of the validations, about.

        Yields
        ------
        Progress, Preview, Finished
            As `train` tells.

        Raises
        ------
        CanceledError
            If it was canceled, or stopped before the first step.
        RankLostError
            If another process of the training ended; the run is saved as it is.
        """
        try:
            yield from self._steps(cancel, stop, PreviewTimer(preview_seconds))
        except (CanceledError, RankLostError) as error:
            self._save_last()
            is_lost = isinstance(error, RankLostError)
            begun = "Lost another process of the training" if is_lost else "Stopped"
            advice = "; resume the run to go on." if self.files.last else "."
            raise type(error)(
                f"{begun} after {self.step} of {pluralize(self.total, 'step')}{advice}"
            ) from None
        done = f"Trained {pluralize(self.step, 'step')}"
        if self.step < self.total:
            done = f"Stopped after {self.step} of {pluralize(self.total, 'step')}"
        yield Finished(
            "completed",
            f"{done}; best validation PSNR "
            f"{self.best.metrics.get('psnr', float('nan')):.2f} dB at step {self.best.step}.",
            outputs=tuple(self.files.written),
            result=self.best,
        )

    def _steps(
        self, cancel: threading.Event, stop: threading.Event, pace: PreviewTimer
    ) -> Iterator[Event]:
        stopwatch = Stopwatch("training", self.total - self.step)
        first = self.step
        if self.is_validation_due:  # it was canceled amid this validation
            figures, preview = yield from self._validate(cancel)
            yield stopwatch.progress(0, step=self.step, **figures)
            yield preview
        batches = iter(self.loader())
        while self.step < self.total:
            is_canceled, is_stopped = self.ranks.any(cancel.is_set(), stop.is_set())
            if is_canceled:
                raise CanceledError
            if is_stopped:
                break
            figures = self.train_step(batches)
            shown = None
            if self.is_validation_due:
                validated, shown = yield from self._validate(cancel)
                figures |= validated
                pace.shown()
            elif pace.is_due:
                shown = self._preview(pace)
            self._autosave()
            yield stopwatch.progress(self.step - first, step=self.step, **figures)
            if shown is not None:
                yield shown
        if self.step == 0:
            raise CanceledError
        if not self.is_validated:  # it was stopped between two validations
            figures, preview = yield from self._validate(cancel)
            yield stopwatch.progress(self.step - first, step=self.step, **figures)
            yield preview

    def loader(self) -> DataLoader[Sample]:
        """Samples of the steps to come, for this rank; global random numbers are left alone."""
        batch_size = self.config.batch_size
        share = self.ranks.share(batch_size)
        starts = range(self.step * batch_size, self.total * batch_size, batch_size)
        return DataLoader(
            self.pairs,
            batch_sampler=([start + place for place in share] for start in starts),
            num_workers=self.runtime.workers,
            collate_fn=list,
            generator=torch.Generator(),
        )

    def train_step(self, batches: Iterator[Sequence[Sample]]) -> dict[str, float]:
        """One step of the optimizer, with the next samples; its loss and learning rate."""
        if self.plateau is None:
            factor = cosine_factor(self.step, self.total, self.config.warmup_steps)
            self.learner.rate = self.config.learning_rate * factor
        first = self.step * self.config.batch_size + self.ranks.share(self.config.batch_size).start
        with self.ranks.sync_errors():
            samples = next(batches)
            part = self._within_memory(
                samples,
                lambda: self.learner.gradient(self.pairs.to_batch(samples, self.device, first)),
            )
        loss = self._within_memory(samples, lambda: self.learner.descend(part))
        if not np.isfinite(loss):
            raise TrainingError(
                f"The training diverged at step {self.step} (loss: {loss}); "
                "choose a lower learning rate."
            )
        self.learner.averaged.update_parameters(self.learner.network)
        self.step += 1
        return {"loss": loss, "learning_rate": self.learner.rate}

    def _within_memory(self, samples: Sequence[Sample], compute: Callable[[], T]) -> T:
        """Result of a part of a step."""
        result = try_or_oom(compute)
        if result is None:
            raise step_too_large(samples, self.device, self.learner.fits)
        return result

    def _preview(self, pace: PreviewTimer) -> Preview:
        """First validation pair by the averaged weights, between two validations."""
        start = time.perf_counter()
        preview, _ = predict_sample(
            self.learner.averaged.module, self.validation, 0, self.device, self.step
        )
        pace.shown(time.perf_counter() - start)
        return preview

    def _validate(
        self, cancel: threading.Event
    ) -> Generator[Event, None, tuple[dict[str, float], Preview]]:
        """Figures of the averaged weights by now; saves the run, and its weights if the best."""
        network, count = self.learner.averaged.module, self.config.validation_images
        figures, preview = yield from validate(
            network, self.validation, count, self.ranks, self.step, cancel
        )
        # One that a stop asked for is no word on the schedule: a resumed run would differ by it.
        if self.plateau is not None and self.step % self.validate_every == 0:
            self.plateau.step(figures["validation_loss"])
        self.history = (*self.history, {"step": float(self.step), **figures})
        if figures["validation_loss"] < self.best.metrics.get("validation_loss", np.inf):
            weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
            self.best = replace(
                self.best, weights=weights, step=self.step, metrics=figures, history=self.history
            )
            if self.ranks.leads:
                self.files.save_best(self.best)
        self._save_last()
        return figures, preview

    def _autosave(self) -> None:
        """Save the run if it has been too long."""
        if 0 < self.runtime.autosave_minutes <= self.files.minutes_unsaved:
            self._save_last()

    def _save_last(self) -> None:
        """Save the run, to go on with."""
        if self.ranks.leads:
            self.files.save_last(self._last())

    def _last(self) -> Model:
        """All that is needed to go on with the run from this step."""
        return replace(
            self.best,
            weights=self.learner.averaged.module.state_dict(),
            step=self.step,
            history=self.history,
            metrics=self.history[-1] if self.history else {},
            state=state_tensors(self.learner.network, self.learner.optimizer),
            progress={
                "images": len(self.pairs),
                "learning_rate": self.learner.rate,
                "plateau": self.plateau.state_dict() if self.plateau else None,
            },
        )
