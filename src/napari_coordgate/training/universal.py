"""Training of the universal model on random lenses."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from napari_coordgate.config import (
    AdaptConfig,
    Camera,
    Scaling,
    UniversalTrainingConfig,
    UnrolledConfig,
)
from napari_coordgate.data.equivariance import moved
from napari_coordgate.data.held_out import BlurredWindows
from napari_coordgate.data.lens_library import LensSample, lens_sample
from napari_coordgate.data.planes import Images, usable_planes
from napari_coordgate.data.universal import (
    UniversalSample,
    UniversalSamples,
    network_inputs,
    random_crop,
    scene_operator,
    simulated_sample,
)
from napari_coordgate.data.unpaired import Weights
from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.events import Event, Progress, Stopwatch, raise_if_canceled, run
from napari_coordgate.geometry import Window
from napari_coordgate.io.files import check_not_exists, check_writable, last_checkpoint_path
from napari_coordgate.io.model_header import UNIVERSAL_FORMAT
from napari_coordgate.metrics import psnr
from napari_coordgate.model import (
    check_model_name,
    read_tensors,
    write_tensors,
)
from napari_coordgate.networks import Deblurred, UnrolledNetwork, uncertainty_of
from napari_coordgate.networks.unrolled import QUANTILE
from napari_coordgate.optics import PSFField, as_psf_field
from napari_coordgate.training.learner import averaging
from napari_coordgate.training.own_images import own_images_events, universal_cleaner
from napari_coordgate.universal_model import UniversalModel

Float32 = NDArray[np.float32]

ADAPT, NO_CAMERA = AdaptConfig(), Camera()

MAX_GRADIENT = 0.5
MIN_SQUARED_ERROR, MIN_ERROR = 1e-5, 1e-4
"""Errors below which nothing is gained."""
VALIDATION_PHOTONS = 200, 1000, 5000
SAVE_SECONDS = 120.0
LENSES = "lenses."


def load_images(images: Images) -> list[Float32]:
    """Sharp images, scaled to 0 (dark) and 1 (bright)."""
    planes, ranges = run(usable_planes(images, Scaling()))
    return [one.normalize(plane.read()) for plane, one in zip(planes, ranges, strict=True)]


def sample_loss(
    stages: Sequence[Deblurred], sharp: Tensor, config: UniversalTrainingConfig
) -> Tensor:
    """Loss of the results of all stages, and of the error that the last one predicts."""

    def image_loss(image: Tensor) -> Tensor:
        squared_error = (image - sharp).square().mean()
        if config.loss == "mse":
            return squared_error
        return (squared_error + MIN_SQUARED_ERROR).log()

    last = stages[-1]
    loss = image_loss(last.image)
    for stage in stages[:-1]:
        loss = loss + config.early_stage_weight * image_loss(stage.image)
    # The quantile of a logarithm is the logarithm of the quantile.
    excess = ((last.image.detach() - sharp).abs() + MIN_ERROR).log() - last.log_error
    pinball = torch.maximum(QUANTILE * excess, (QUANTILE - 1) * excess).mean()
    return loss + config.error_weight * pinball


def learning_rate_factor(step: int, config: UniversalTrainingConfig) -> float:
    """Linear warm-up, constant, then linear decay to 0 at the end."""
    rising = (step + 1) / max(1, min(config.warmup_steps, config.steps // 10))
    falling = (config.steps - step) / (config.decay_fraction * config.steps)
    return min(1.0, rising, falling)


@dataclass(frozen=True)
class UnpairedLoss:
    """Weighted losses of a window of the user's own blurred images, without sharp ones."""

    windows: BlurredWindows
    lens_uncertainty: float
    config: UniversalTrainingConfig
    weights: Weights

    def backward(self, network: UnrolledNetwork, index: int) -> None:
        """Backpropagate the losses of one window one by one."""
        held_out, psf_field = self.windows.sample(index), self.windows.psf_field

        def result(image: Tensor, window: Window) -> Tensor:
            camera, uncertainty = held_out.camera, self.lens_uncertainty
            inputs = network_inputs(
                image, window, camera, psf_field, uncertainty, self.config.network
            )
            deblurred: Tensor = network(*inputs).image[0, 0]
            return deblurred

        image = result(torch.from_numpy(held_out.kept), held_out.window)
        if self.weights.held_out:
            error = held_out.error(image, psf_field)
            (self.weights.held_out * self._loss(error)).backward()
        if self.weights.equivariance:
            scene = moved(image, held_out, psf_field)
            error = scene.error(result(scene.blurred, scene.window))
            (self.weights.equivariance * self._loss(error)).backward()

    def _loss(self, error: Tensor) -> Tensor:
        """Loss of a mean squared error."""
        return error if self.config.loss == "mse" else (error + MIN_SQUARED_ERROR).log()


class UniversalTrainer:
    """Network, optimizer and samples of a training, and their state on disk."""

    def __init__(
        self,
        config: UniversalTrainingConfig,
        lenses: Sequence[LensSample],
        images: Sequence[Float32],
        validation: Sequence[UniversalSample],
        weights: Mapping[str, Tensor] | None = None,
        *,
        variances: Sequence[float] | None = None,
        unpaired: UnpairedLoss | None = None,
    ) -> None:
        self.config, self.lenses, self.validation = config, lenses, validation
        self.samples = UniversalSamples(config, lenses, images, variances)
        self.unpaired = unpaired
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = UnrolledNetwork(config.network)
        if weights is not None:
            self.network.load_state_dict(dict(weights))
        self.averaged = AveragedModel(self.network, multi_avg_fn=averaging(config.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate)
        self.done = 0
        self.history: list[dict[str, float]] = []

    def step(self) -> float:
        """Make one step of the optimizer; returns the mean loss of the batch."""
        config, total = self.config, 0.0
        self.optimizer.zero_grad()
        for i in range(config.batch_size):
            sample = self.samples.sample(self.done * config.batch_size + i)
            loss = sample_loss(self.network.all_stages(*sample.inputs), sample.sharp, config)
            (loss / config.batch_size).backward()
            total += loss.item() / config.batch_size
        if self.unpaired is not None:
            self.unpaired.backward(self.network, self.done)
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        rate = config.learning_rate * learning_rate_factor(self.done, config)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        self.done += 1
        return total

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Mean PSNR before and after deblurring, dB, at each number of photons."""
        rows = []
        for sample in self.validation:
            image = self.averaged.module(*sample.inputs).image
            sharp = sample.sharp[0, 0].numpy()
            rows.append([psnr(sharp, each[0, 0].numpy()) for each in (sample.blurred, image)])
        means = np.reshape(rows, (len(VALIDATION_PHOTONS), -1, 2)).mean(axis=1)
        row = {"step": float(self.done)}
        for photons, (blurred, deblurred) in zip(VALIDATION_PHOTONS, means, strict=True):
            row |= {f"blurred_{photons}": blurred, f"deblurred_{photons}": deblurred}
        self.history.append(row)
        return row

    def model(self, card: dict[str, Any] | None = None) -> UniversalModel:
        """Model of the averaged weights."""
        weights = {n: w.detach().clone() for n, w in self.averaged.module.state_dict().items()}
        return UniversalModel(self.config, weights, self.done, tuple(self.history), card or {})

    def save_checkpoint(self, path: Path) -> None:
        """Write the state of the training and the lenses, to resume it."""
        state = {f"now.{name}": w for name, w in self.network.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{index}.{n}": torch.as_tensor(v) for n, v in moments.items()}
        state["averages"] = self.averaged.n_averaged
        model = self.model()
        write_tensors(
            path,
            model.header(),
            model.tensors() | state | lens_tensors(self.lenses),
            overwrite=True,
            file_format=UNIVERSAL_FORMAT,
        )

    def restore(self, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Continue from a checkpoint."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.network.load_state_dict(_part(tensors, "now."))
        self.averaged.module.load_state_dict(_part(tensors, "network."))
        self.averaged.n_averaged = tensors["averages"]
        self.done, self.history = header["step"], list(header["history"])


def train_universal_events(
    config: UniversalTrainingConfig,
    images: Images,
    validation_images: Images,
    output: str | Path,
    *,
    validate_every: int = 500,
    resume: bool = False,
    threads: int | None = None,
) -> Generator[Event, None, UniversalModel]:
    """Train a universal model; yields its progress, and writes it and its checkpoint.

    The learning rate is constant until its decay, so that a checkpoint from before it can be
    resumed with a larger number of steps.
    """
    output, checkpoint = Path(output), last_checkpoint_path(output)
    header: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    if resume and checkpoint.exists():
        header, tensors = read_tensors(checkpoint, {UNIVERSAL_FORMAT: 1})
        if UniversalTrainingConfig(**header["config"]).replace(steps=config.steps) != config:
            raise ModelError(f"{checkpoint}: of other settings; choose another output.")
        lenses = lenses_of_tensors(tensors)
    else:
        check_not_exists([output], resume, "choose another name, or resume")
        lenses = yield from build_library_events(config)
    validation = validation_samples(config, load_images(validation_images))
    trainer = UniversalTrainer(config, lenses, load_images(images), validation)
    if header:
        trainer.restore(header, tensors)
    return (yield from _steps(trainer, output, validate_every, resume=resume))


def _steps(
    trainer: UniversalTrainer,
    output: Path,
    validate_every: int,
    *,
    resume: bool,
) -> Generator[Event, None, UniversalModel]:
    """Steps of a training until its end, with validations and checkpoints."""
    checkpoint, total = last_checkpoint_path(output), trainer.config.steps
    first, started, saved = trainer.done, time.monotonic(), time.monotonic()
    losses: deque[float] = deque(maxlen=200)
    while trainer.done < total:
        losses.append(trainer.step())
        metrics = {"loss": float(np.mean(losses))}
        if trainer.done % validate_every == 0 or trainer.done == total:
            metrics |= trainer.validate()
        if time.monotonic() - saved > SAVE_SECONDS or trainer.done == total:
            trainer.save_checkpoint(checkpoint)
            saved = time.monotonic()
        seconds = time.monotonic() - started
        yield Progress("training", trainer.done - first, total - first, seconds, metrics)
    model = trainer.model()
    model.save(output, overwrite=resume)
    return model


def adapt(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred_only: Images | None = None,
    model: UniversalModel | UnrolledConfig | str | Path | None = None,
    camera: Camera = NO_CAMERA,
    config: AdaptConfig = ADAPT,
    output: str | Path | None = None,
    overwrite: bool = False,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> UniversalModel:
    """Adapt the universal model to one lens, and to images of one kind.

    Sharp images are blurred at random windows of the frame, and the network is trained further.
    A few hundred steps take minutes on two processor cores. Without sharp images, those of the lens
    itself will do, see ``blurred_only``.

    Parameters
    ----------
    sharp : path, ndarray of shape (..., H, W), Image, or sequence of these, optional
        Sharp images; a folder means all images in it.
    psf_field : PSFField, str or Path
        Blur of the lens, or the file of it.
    blurred_only : same types as ``sharp``, optional
        Blurred images of this lens, whole frames, instead of sharp ones. Where the lens is
        sharpest, the model deblurs them, and the results are blurred at random windows of the
        frame. Some photons of all images are held out, which the blur of what the network makes of
        the others has to predict.
    model : UniversalModel, str, Path or UnrolledConfig, optional
        Model to start from, or a network to train from random weights; default: the model that is
        shipped.
    camera : Camera
        Camera noise; default: all noise levels that the model was trained on, or with
        ``blurred_only`` the noise that is measured in the images.
    config : AdaptConfig
        Steps, learning rate and seed.
    output : str or Path, optional
        File to write, suffix ``.safetensors``.
    overwrite : bool
        Replace an existing ``output``.
    callback : callable, optional
        Called with each event of `adapt_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work; nothing is written then.

    Returns
    -------
    UniversalModel
        The adapted model; use it with the same PSF field.

    Raises
    ------
    SettingsError
        If not either sharp or blurred images are given, the PSF field is missing, or too little
        of the blurred images is sharp.
    ImageError, FrameMismatchError
        If images cannot be used; the message names them.
    PSFError, ModelError, OutputError
        If a file cannot be read or written.
    CanceledError
        If canceled.

    References
    ----------
    B. Monroy, J. Bacca and J. Tachella, "Generalized Recorrupted-to-Recorrupted: Self-Supervised
    Learning Beyond Gaussian Noise", CVPR 2025: loss on the photons held out.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, UniversalModel, adapt
    >>> from napari_coordgate.config import AdaptConfig, UniversalTrainingConfig
    >>> from napari_coordgate.networks import UnrolledNetwork
    >>> sharp = np.random.default_rng(0).random((2, 40, 40))
    >>> psf_field = PSFField.from_lens(GaussianLens(), (32, 32))
    >>> config = UniversalTrainingConfig()
    >>> model = UniversalModel(config, UnrolledNetwork(config.network).state_dict())
    >>> adapt(sharp, psf_field, model=model, config=AdaptConfig(steps=1, batch_size=1))
    UniversalModel(3 stages, step 1)
    """
    events = adapt_events(
        sharp,
        psf_field,
        blurred_only=blurred_only,
        model=model,
        camera=camera,
        config=config,
        output=output,
        overwrite=overwrite,
        cancel=cancel,
    )
    return run(events, callback)


def adapt_events(
    sharp: Images | None = None,
    psf_field: PSFField | str | Path | None = None,
    *,
    blurred_only: Images | None = None,
    model: UniversalModel | UnrolledConfig | str | Path | None = None,
    camera: Camera = NO_CAMERA,
    config: AdaptConfig = ADAPT,
    output: str | Path | None = None,
    overwrite: bool = False,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, UniversalModel]:
    """Generator form of `adapt`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each step; before, with ``blurred_only``, after each image.

    Returns
    -------
    UniversalModel
        The adapted model.
    """
    if output is not None:
        check_model_name(output)
        check_not_exists([output], overwrite)
        check_writable(output)
    if (sharp is None) == (blurred_only is None):
        raise SettingsError("Give either sharp images, or blurred_only with images of the lens.")
    if psf_field is None:
        raise SettingsError("The universal model is adapted to a lens; give its PSF field.")
    field = as_psf_field(psf_field)
    origin = _start(model, config.seed)
    uncertainty = config.lens_uncertainty
    lens = LensSample(field, field, uncertainty_of(field) if uncertainty is None else uncertainty)
    if blurred_only is not None:
        trainer = yield from _own_trainer(origin, blurred_only, lens, camera, config, cancel)
    else:
        assert sharp is not None
        recipe = _adapted_recipe(origin.config, config, camera)
        trainer = UniversalTrainer(recipe, [lens], load_images(sharp), [], origin.weights)
    stopwatch = Stopwatch("training", config.steps)
    losses: deque[float] = deque(maxlen=50)
    while trainer.done < config.steps:
        raise_if_canceled(cancel, "Stopped while adapting the model; nothing was written.")
        losses.append(trainer.step())
        yield stopwatch.progress(trainer.done, step=trainer.done, loss=float(np.mean(losses)))
    adapted = trainer.model({**origin.card, "adapted": {"steps": config.steps}})
    adapted = replace(adapted, trust=origin.trust)  # until it is calibrated on other images
    if output is not None:
        adapted.save(output, overwrite=overwrite)
    return adapted


def _start(model: UniversalModel | UnrolledConfig | str | Path | None, seed: int) -> UniversalModel:
    """Model to start from; a network gets random weights."""
    if isinstance(model, UniversalModel):
        return model
    if not isinstance(model, UnrolledConfig):
        return UniversalModel.load(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = UnrolledNetwork(model).state_dict()
    return UniversalModel(UniversalTrainingConfig(network=model), weights)


def _own_trainer(
    origin: UniversalModel,
    blurred: Images,
    lens: LensSample,
    camera: Camera,
    config: AdaptConfig,
    cancel: threading.Event | None,
) -> Generator[Event, None, UniversalTrainer]:
    """Trainer of a model on blurred images alone."""
    clean = universal_cleaner(origin, lens.given, lens.uncertainty)
    own = yield from own_images_events(blurred, lens.given, camera, clean, cancel=cancel)
    recipe = _adapted_recipe(origin.config, config, own.camera)
    unpaired = None
    weights = Weights(config.held_out_weight, config.equivariance_weight)
    if any(weights):
        windows = own.windows(max(recipe.library.window_sizes), config.seed)
        unpaired = UnpairedLoss(windows, lens.uncertainty, recipe, weights)
    return UniversalTrainer(
        recipe,
        [lens],
        [source.range.normalize(source.image) for source in own.sources],
        [],
        origin.weights,
        variances=[source.variance for source in own.sources],
        unpaired=unpaired,
    )


def _adapted_recipe(
    origin: UniversalTrainingConfig, config: AdaptConfig, camera: Camera
) -> UniversalTrainingConfig:
    """Recipe of a model, changed to train it further for one lens and camera."""
    changes: dict[str, Any] = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "decay_fraction": 1.0,
        "procedural_fraction": 0.0,
    }
    if camera.photons is not None:
        changes |= {
            "min_photons": camera.photons / config.photons_range,
            "max_photons": camera.photons * config.photons_range,
            "max_read_noise": camera.read_noise,
        }
    return origin.replace(**changes)


def build_library_events(
    config: UniversalTrainingConfig,
) -> Generator[Event, None, list[LensSample]]:
    """PSF fields of all random lenses."""
    lenses: list[LensSample] = []
    started, total = time.monotonic(), config.library.lenses
    while len(lenses) < total:
        lenses.append(lens_sample(config.seed, len(lenses), config.library))
        yield Progress("lenses", len(lenses), total, time.monotonic() - started)
    return lenses


def validation_samples(
    config: UniversalTrainingConfig, images: Sequence[Float32]
) -> list[UniversalSample]:
    """Images of lenses that are not in the library, at each number of photons; known exactly."""
    samples = []
    for photons in VALIDATION_PHOTONS:
        for i in range(config.validation_lenses):
            rng = np.random.default_rng([config.seed, 2, i])
            lens = lens_sample(config.seed + 1, i, config.library)
            blur = scene_operator(lens.true)
            scene = random_crop(rng, images[i % len(images)], blur.scene_window.shape)
            camera = Camera(photons=photons, read_noise=3)
            samples.append(
                simulated_sample(
                    np.ascontiguousarray(scene), blur, lens.true, camera, 1.0, 0.0, config, i
                )
            )
    return samples


def lens_tensors(lenses: Sequence[LensSample]) -> dict[str, Tensor]:
    """Arrays of a library of lenses, for a checkpoint."""
    tensors: dict[str, Tensor] = {}
    for i, lens in enumerate(lenses):
        tensors[f"{LENSES}{i}.uncertainty"] = torch.tensor(lens.uncertainty)
        for kind in ("true", "given"):
            psf_field: PSFField = getattr(lens, kind)
            for name in ("kernels", "coefficients"):
                array = torch.from_numpy(getattr(psf_field, name)).float()
                tensors[f"{LENSES}{i}.{kind}.{name}"] = array
            shape = torch.tensor(psf_field.frame_shape)
            tensors[f"{LENSES}{i}.{kind}.frame_shape"] = shape
    return tensors


def lenses_of_tensors(tensors: dict[str, Tensor]) -> list[LensSample]:
    """Inverse of `lens_tensors`."""

    def psf_field(prefix: str) -> PSFField:
        kernels, coefficients, shape = (
            tensors[prefix + name].numpy() for name in ("kernels", "coefficients", "frame_shape")
        )
        return PSFField(kernels, coefficients, (int(shape[0]), int(shape[1])))

    total = sum(name.endswith(".uncertainty") for name in tensors)
    return [
        LensSample(
            psf_field(f"{LENSES}{i}.true."),
            psf_field(f"{LENSES}{i}.given."),
            float(tensors[f"{LENSES}{i}.uncertainty"]),
        )
        for i in range(total)
    ]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
