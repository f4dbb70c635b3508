"""What a training is asked to do: a frozen snapshot, taken before it begins.

Everything here is decided without a window, and without loading torch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_coordgate.config import RuntimeConfig, TrainingConfig, TrainingSettings
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, Finished
from napari_coordgate.io import Image
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField

__all__ = ["TrainingRequest", "free_name"]

PREVIEW_SECONDS = 3.0
"""Time between previews, about."""


@dataclass(frozen=True, eq=False)
class TrainingRequest:
    """All that one run needs.

    Attributes
    ----------
    config : TrainingSettings
        Settings.
    sharp : path or list of Image
        Sharp images, as lazy as their layers.
    field : PSFField or None
        Blur of the lens.
    blurred : list of Image, or None
        Measured blurred images, instead of a PSF field.
    validation : list of Image, or None
        Images to validate on; a part of the sharp ones is held back when not given.
    init : Checkpoint or None
        Network to fine-tune.
    output : Path
        Checkpoint to write.
    resume : bool
        Go on with the run that was to write the output.
    """

    config: TrainingSettings
    sharp: Path | list[Image]
    field: "PSFField | None"
    blurred: list[Image] | None
    validation: list[Image] | None
    init: "Model | None"
    output: Path
    resume: bool = False

    def estimate_resources(self, job: Job) -> Iterator[Event]:
        """Events of a rehearsal, whose result is the estimate; for the background thread."""
        from napari_coordgate.training import estimate_resources_events  # imports torch

        estimate = yield from estimate_resources_events(
            **self._images(),
            config=self.config.select(TrainingConfig),
            runtime=self.config.select(RuntimeConfig),
            init=self.init,
            cancel=job.cancel_requested,
        )
        yield Finished("completed", str(estimate), result=estimate)

    def train(self, job: Job) -> Iterator[Event]:
        """Events of the training; for the background thread."""
        from napari_coordgate.training import train_events  # imports torch

        model = yield from train_events(
            **self._images(),
            config=self.config.select(TrainingConfig),
            runtime=self.config.select(RuntimeConfig),
            init=self.init,
            output=self.output,
            resume=self.resume,
            cancel=job.cancel_requested,
            stop=job.stop_requested,
            preview_seconds=PREVIEW_SECONDS,
        )
        psnr = model.metrics.get("psnr", math.nan)
        message = f"Best validation PSNR {psnr:.2f} dB, at step {model.step}."
        outputs = (self.output, last_checkpoint_path(self.output))
        yield Finished("completed", message, outputs=outputs, result=model)

    def check(self) -> None:
        """Make sure that there is something to train on, and a way to blur it.

        Raises
        ------
        SettingsError
            If images, their blur or the output's name are missing or wrong.
        """
        if not self.sharp:
            raise SettingsError("Choose sharp images: tick layers, or name a folder.")
        if isinstance(self.sharp, Path) and not self.sharp.is_dir():
            raise SettingsError(f"{self.sharp} is no folder; choose one with sharp images.")
        if self.field is None and not self.blurred:
            raise SettingsError("Choose a PSF field; the Lens PSF widget makes one.")
        if self._has_pairs_of_one():
            raise SettingsError("A layer is ticked as sharp and as blurred; choose one of both.")
        if self.output.suffix != ".safetensors":
            raise SettingsError("Name the model to write; its name ends in .safetensors.")
        if not self.resume:
            self._check_name()

    def _check_name(self) -> None:
        """Make sure that the name is free, also of a run that was interrupted."""
        name, interrupted = self.output.name, last_checkpoint_path(self.output).exists()
        if not (self.output.exists() or interrupted):
            return
        what = f"{name} already exists" if self.output.exists() else f"A run of {name} was begun"
        advice = "resume its run, or choose another name" if interrupted else "choose another name"
        raise SettingsError(f"{what}; {advice}.")

    def _has_pairs_of_one(self) -> bool:
        """Whether one array is to be both the sharp and the blurred image of a pair."""
        sharp = [] if isinstance(self.sharp, Path) else [image.data for image in self.sharp]
        return any(image.data is array for image in self.blurred or [] for array in sharp)

    def _images(self) -> dict[str, Any]:
        return {
            "sharp": self.sharp,
            "psf_field": self.field,
            "blurred": self.blurred,
            "validation": self.validation,
        }


def free_name(folder: Path, stem: str = "model") -> Path:
    """Name for a new checkpoint that overwrites nothing.

    Parameters
    ----------
    folder : Path
        Where it is to stand.
    stem : str
        The name to begin with.

    Returns
    -------
    Path
        ``model.safetensors``, or the first free of ``model-2.safetensors``, ...
    """
    path, number = folder / f"{stem}.safetensors", 1
    while path.exists() or last_checkpoint_path(path).exists():
        number += 1
        path = folder / f"{stem}-{number}.safetensors"
    return path
