"""One run: network, optimiser, averaged weights, and what was reached."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from napari_coordgate.checkpoint import Checkpoint
from napari_coordgate.config import TrainingConfig
from napari_coordgate.devices import resolve_device, to_device
from napari_coordgate.errors import CancelledError, SettingsError, TrainingError
from napari_coordgate.networks import UNet, build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.pairs import Batch, Pairs, Sample
from napari_coordgate.progress import Event, Finished, Preview, Stopwatch, counted
from napari_coordgate.training.files import RunFiles
from napari_coordgate.training.memory import attempt, step_too_large, validation_too_large
from napari_coordgate.training.schedule import averaging, cosine_factor, plateau
from napari_coordgate.training.state import load_tensors, state_tensors
from napari_coordgate.training.validation import validate

__all__ = ["TrainingRun"]

VALIDATIONS_OF_A_RUN = 20
MAY_CHANGE = {"steps", "epochs", "device", "workers", "validate_every"}
"""Settings with which a run may go on although they are not those it began with."""


class TrainingRun:
    """State of one run: network, optimiser, averaged weights, and what was reached.

    Parameters
    ----------
    config : TrainingConfig
        The network and how to train it.
    pairs, validation : Pairs
        Where training and validation samples come from.
    field : PSFField or None
        The blur, kept in the checkpoint.
    files : RunFiles
        What is written.
    """

    def __init__(
        self,
        config: TrainingConfig,
        pairs: Pairs,
        validation: Pairs,
        field: PSFField | None,
        files: RunFiles,
    ) -> None:
        self.config = config
        self.pairs = pairs
        self.validation = validation
        self.files = files
        self.device = resolve_device(config.device)
        images, batch = len(pairs), config.batch_size
        self.epoch_steps = max(1, round(images / batch))
        # A batch may span two epochs, so that no image is ever left out.
        self.total = config.steps if config.epochs is None else -(-config.epochs * images // batch)
        self.network = to_device(_seeded_network(config), self.device)
        self.averaged = AveragedModel(self.network, multi_avg_fn=averaging(config.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.plateau = self._build_plateau()
        self.fabric = _build_fabric(config, self.device)
        self.model, self.fabric_optimizer = self.fabric.setup(
            self.network, self.optimizer, move_to_device=False
        )
        self.step = 0
        self.history: tuple[dict[str, float], ...] = ()
        pixel_size_um = None if field is None else field.pixel_size_um
        self.best = Checkpoint(config, {}, pairs.frame_shape, pixel_size_um, field)

    @property
    def validate_every(self) -> int:
        """Steps between validations; a plateau is judged by epochs."""
        if self.config.validate_every is not None:
            return self.config.validate_every
        if self.config.epochs is not None:
            return self.epoch_steps
        return max(1, self.total // VALIDATIONS_OF_A_RUN)

    def _build_plateau(self) -> ReduceLROnPlateau | None:
        if self.config.schedule != "plateau":
            return None
        validations = self.config.patience_epochs * self.epoch_steps / self.validate_every
        return plateau(self.optimizer, max(1, round(validations)))

    def initialise(self, checkpoint: Checkpoint) -> None:
        """Start from a checkpoint's weights instead of random ones."""
        if checkpoint.config.network != self.config.network:
            raise SettingsError(
                f"The checkpoint to fine-tune holds another network ({checkpoint.config.network}); "
                "train with that one, or without it."
            )
        self.network.load_state_dict(dict(checkpoint.weights))
        self.averaged.module.load_state_dict(dict(checkpoint.weights))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a run exactly where it stopped."""
        changed = [
            name
            for name, value in self.config
            if name not in MAY_CHANGE and value != getattr(checkpoint.config, name)
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
        self.averaged.module.load_state_dict(dict(checkpoint.weights))
        self.averaged.n_averaged.fill_(self.step)
        load_tensors(checkpoint.state, self.network, self.optimizer)
        if self.plateau is not None:
            self.plateau.load_state_dict(checkpoint.progress["plateau"])
            self._set_rate(checkpoint.progress["learning_rate"])
        best = self.files.load_best() if self.history else None
        if best is not None:
            self.best = replace(best, config=self.config)

    def steps(self, cancel: threading.Event | None) -> Iterator[Event]:
        """Train to the last step, with a validation now and then."""
        stopwatch = Stopwatch("training", self.total - self.step)
        first = self.step
        for samples in self._loader():
            if cancel is not None and cancel.is_set():
                self.files.save_last(self._last())
                advice = "; --resume goes on." if self.files.last else "."
                raise CancelledError(
                    f"Stopped after {self.step} of {counted(self.total, 'step')}{advice}"
                )
            figures = self._optimise(samples)
            previews: list[Preview] = []
            if self.step % self.validate_every == 0 or self.step == self.total:
                validated, preview = self._validate()
                figures |= validated
                previews.append(preview)
            yield stopwatch.progress(self.step - first, **figures)
            yield from previews
        yield Finished(
            "completed",
            f"Trained {counted(self.step, 'step')}; best validation PSNR "
            f"{self.best.metrics.get('psnr', float('nan')):.2f} dB at step {self.best.step}.",
            outputs=tuple(self.files.written),
            result=self.best,
        )

    def _loader(self) -> DataLoader[Sample]:
        """Samples of the steps to come; the global random numbers are left alone."""
        batch_size = self.config.batch_size
        return DataLoader(
            self.pairs,
            batch_size=batch_size,
            sampler=range(self.step * batch_size, self.total * batch_size),
            num_workers=self.config.workers,
            collate_fn=list,
            generator=torch.Generator(),
        )

    def _optimise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """One step of the optimiser."""
        if self.plateau is None:
            factor = cosine_factor(self.step, self.total, self.config.warmup_steps)
            self._set_rate(self.config.learning_rate * factor)
        loss = attempt(lambda: self._descend(samples))
        if loss is None:
            raise step_too_large(samples, self.device, self._fits)
        if not np.isfinite(loss):
            raise TrainingError(
                f"The training diverged at step {self.step} (loss: {loss}); "
                "choose a lower learning rate."
            )
        self.averaged.update_parameters(self.network)
        self.step += 1
        return {"loss": loss, "learning_rate": self._rate}

    def _descend(self, samples: Sequence[Sample]) -> float:
        """Loss before a step down its gradient."""
        loss = self._gradient(self.pairs.to_batch(samples, self.device, self.step))
        self.fabric_optimizer.step()
        return loss.item()

    def _gradient(self, batch: Batch) -> Tensor:
        """Mean squared error, weighted so that every pixel of the frame counts alike."""
        self.optimizer.zero_grad()
        restored = self.model(batch.blurred, batch.coordinates)
        loss: Tensor = (batch.weights * (restored.float() - batch.sharp).square()).mean()
        self.fabric.backward(loss)
        return loss.detach()

    def _fits(self, batch_size: int, window_size: int) -> bool:
        """Whether the gradient of so many windows of this size stays within the memory."""
        shape = batch_size, 1, window_size, window_size

        def compute() -> Tensor:
            image = torch.zeros(shape, device=self.device)
            return self._gradient(Batch(image, image, image.expand(-1, 2, -1, -1), image))

        return attempt(compute) is not None

    def _validate(self) -> tuple[dict[str, float], Preview]:
        """Figures of the averaged weights by now; saves the run, and its weights if the best."""
        network, count = self.averaged.module, self.config.validation_images
        outcome = attempt(lambda: validate(network, self.validation, count, self.device, self.step))
        if outcome is None:
            raise validation_too_large(self.validation.frame_shape, self.device)
        figures, preview = outcome
        if self.plateau is not None:
            self.plateau.step(figures["validation_loss"])
        self.history = (*self.history, {"step": float(self.step), **figures})
        if figures["validation_loss"] < self.best.metrics.get("validation_loss", np.inf):
            weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
            self.best = replace(
                self.best, weights=weights, step=self.step, metrics=figures, history=self.history
            )
            self.files.save_best(self.best)
        self.files.save_last(self._last())
        return figures, preview

    def _last(self) -> Checkpoint:
        """All that is needed to go on with the run from this step."""
        return replace(
            self.best,
            weights=self.averaged.module.state_dict(),
            step=self.step,
            history=self.history,
            metrics=self.history[-1] if self.history else {},
            state=state_tensors(self.network, self.optimizer),
            progress={
                "images": len(self.pairs),
                "learning_rate": self._rate,
                "plateau": self.plateau.state_dict() if self.plateau else None,
            },
        )

    @property
    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _set_rate(self, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate


def _seeded_network(config: TrainingConfig) -> UNet:
    """Network whose random weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config.network)


class _Autocast(MixedPrecision):
    """Mixed precision that leaves the inputs alone: the residual output adds them unrounded."""

    def convert_input(self, data: Any) -> Any:
        return data


def _build_fabric(config: TrainingConfig, device: torch.device) -> Fabric:
    """Engine of the run; given its precision ready-made, it prints nothing about it."""
    precision = Precision()
    if config.precision == "bfloat16":
        precision = _Autocast("bf16-mixed", device.type)
    return Fabric(accelerator=device.type, devices=1, plugins=[precision])
