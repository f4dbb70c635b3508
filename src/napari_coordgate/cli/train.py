"""Train a model."""

import sys
import warnings
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.launching import end_with_launcher, run_on_each_device
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import settings_path, write_settings
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import (
    PRESETS,
    AdaptConfig,
    PresetName,
    RuntimeConfig,
    TrainingConfig,
    TrainingSettings,
)
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import Event, Progress, pluralize
from napari_coordgate.io.files import (
    check_not_exists,
    last_checkpoint_path,
)
from napari_coordgate.model import Model, is_universal
from napari_coordgate.optics import PSFField
from napari_coordgate.training import (
    OUTPUT_EXISTS_HINT,
    adapt_events,
    distributed,
    train_events,
)

UNIVERSAL = "universal"
TRAINING_STAGES = "training", "validating"


@dataclass(frozen=True)
class Start:
    """Start of a training: preset, model to fine-tune, or checkpoint to resume from."""

    preset: PresetName
    init: Path | None
    resume: bool
    overwrite: bool


@dataclass(frozen=True)
class TrainingImages:
    """Files of the training images."""

    sharp: Path | None
    blurred: Path | None
    blurred_only: Path | None
    validation: Path | None


def train_network(
    images: TrainingImages,
    psf: Path | None,
    output: Path,
    start: Start,
    given: CliSettings[TrainingSettings],
) -> None:
    """Train a model on a folder of images, and write the settings beside it.

    With several devices there is one process for each; only the first one prints.
    """
    end_with_launcher()
    if (images.sharp is None) == (images.blurred_only is None):
        raise SettingsError(
            "Give either a folder of sharp images, or --blurred-only with images of the lens."
        )
    if start.init is not None and _is_universal(start.init):
        adapt_universal(images, psf, output, start, given)
        return
    if start.resume and start.init is not None:
        raise SettingsError("Give either --resume or --init, not both.")
    origin = _origin(output, start)
    settings = _settings(origin, start, given)
    runtime = settings.select(RuntimeConfig)
    rank = distributed.rank(runtime)
    if rank:
        warnings.simplefilter("ignore")
    replaced = start.overwrite or start.resume
    check_not_exists([output, settings_path(output)], replaced, OUTPUT_EXISTS_HINT)
    field = PSFField.load(psf) if psf is not None else None
    if field is None and images.blurred is None and origin is not None:
        field = origin.psf_field
    if field is None and images.blurred_only is not None:
        raise SettingsError("Give the PSF field of the lens of the blurred images (--psf).")
    if (field is None) == (images.blurred is None):
        raise SettingsError("Give either --psf, or --blurred with measured images.")
    if rank is None:
        sys.exit(run_on_each_device(runtime.devices, runtime.nodes))
    with cancel_on_signal() as cancel:
        events = train_events(
            images.sharp,
            field,
            config=settings.select(TrainingConfig),
            runtime=runtime,
            blurred=images.blurred,
            blurred_only=images.blurred_only,
            validation=images.validation,
            output=output,
            init=None if start.resume else origin,
            resume=start.resume,
            overwrite=start.overwrite,
            cancel=cancel,
        )
        if rank > 0:
            with suppress(CoordGateError):  # all processes raise it, the first one reports it
                deque(events, maxlen=0)
            return
        model, steps = follow(_with_settings(events, output, given.to_yaml(settings), replaced))
    say(
        f"{output}: Trained {pluralize(steps, 'step')}; best at step {model.step}: "
        f"{model.describe_validation()}."
    )


def _is_universal(init: Path) -> bool:
    """Whether a model to start from is the shipped universal one, or the file of another."""
    return str(init) == UNIVERSAL or is_universal(init)


def adapt_universal(
    images: TrainingImages,
    psf: Path | None,
    output: Path,
    start: Start,
    given: CliSettings[TrainingSettings],
) -> None:
    """Adapt the universal model to the lens of a PSF field."""
    if psf is None or images.blurred is not None or start.resume:
        raise SettingsError(
            "The universal model is adapted to a lens: give --psf with its PSF field, and "
            "neither --blurred nor --resume."
        )
    defaults = AdaptConfig().model_dump(exclude={"photons_range", "lens_uncertainty"})
    settings = given.settings(defaults)
    with cancel_on_signal() as cancel:
        events = adapt_events(
            images.sharp,
            psf,
            blurred_only=images.blurred_only,
            model=None if str(start.init) == UNIVERSAL else start.init,
            camera=settings.camera,
            config=AdaptConfig(**{name: getattr(settings, name) for name in defaults}),
            output=output,
            overwrite=start.overwrite,
            cancel=cancel,
        )
        model = follow(events)
    say(
        f"{output}: Adapted the universal model in {pluralize(model.step, 'step')}; deblur with "
        f"'napari-coordgate deblur IMAGE -m {output} --psf {psf}'."
    )


def _origin(output: Path, start: Start) -> Model | None:
    """Model whose settings, and with --init weights, the training starts from."""
    if start.resume:
        return Model.load(last_checkpoint_path(output))
    return None if start.init is None else Model.load(start.init)


def _settings(
    origin: Model | None, start: Start, given: CliSettings[TrainingSettings]
) -> TrainingSettings:
    """Settings of the training; the origin and the preset replace the defaults."""
    defaults: list[Mapping[str, Any]] = []
    if origin is not None:
        kept = None if start.resume else {"network", "scaling"}
        defaults.append(origin.config.model_dump(include=kept))
    preset = PRESETS[start.preset].model_dump(exclude_unset=True)
    defaults.append(_with_own_length(preset))
    given = replace(given, file=_with_own_length(given.file), flags=_with_own_length(given.flags))
    return given.settings(*defaults)


def _with_own_length(layer: dict[str, Any]) -> dict[str, Any]:
    """Settings in which steps, if given, override epochs of other sources."""
    return {"epochs": None, **layer} if "steps" in layer else layer


def _with_settings(
    events: Generator[Event, None, Model], output: Path, settings: str, replaced: bool
) -> Generator[Event, None, tuple[Model, int]]:
    """Write the settings once all images were read, and count the steps."""
    written, steps = False, 0
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            model: Model = end.value
            return model, steps
        if not written and isinstance(event, Progress) and event.stage in TRAINING_STAGES:
            path = settings_path(output)
            write_settings(path, settings, replaced)
            written = True
        if isinstance(event, Progress) and event.stage == "training":
            steps = int(event.metrics["step"])
        yield event
