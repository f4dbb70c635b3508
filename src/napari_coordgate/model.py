"""A trained model: network, settings, PSF field and metrics, as one file.

Arrays are stored in the safetensors format, everything else as JSON in its header.
Loading unpickles nothing and runs no code from the file.
"""

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    Device,
    TrainingConfig,
    TrainingSettings,
)
from napari_coordgate.config.networks import own_settings
from napari_coordgate.errors import ModelError, OutputError, PSFError, format_validation_error
from napari_coordgate.events import Event
from napari_coordgate.geometry import MAX_FRAME_SIDE, Window, format_shape
from napari_coordgate.io import Image
from napari_coordgate.io.files import atomic_write
from napari_coordgate.io.model_header import (
    FORMAT,
    FORMER_FORMAT,
    MODEL_FORMATS,
    UNIVERSAL_FORMAT,
    VERSION,
    metadata_of,
    read_metadata,
)
from napari_coordgate.networks import Network, PSFSamples, build_network
from napari_coordgate.opening import read_file
from napari_coordgate.optics import PSFField
from napari_coordgate.representation import html_table
from napari_coordgate.version import __version__

WEIGHTS, PSF_FIELD = "network.", "psf_field."
CHECKSUM = "checksum"
"""Key of the hash of header and arrays."""

DEFAULTS, DEFAULT_RUNTIME = DeblurConfig(), DeblurRuntime()
MIN_GAIN_DB = 0.05
"""Gain over blurred images below which there is none."""


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """A trained network with everything needed to use it.

    Parameters
    ----------
    config : TrainingConfig
        Recipe of the training; contains the architecture and the intensity scaling.
    weights : mapping of str to Tensor
        Weights of the network.
    frame_shape : tuple of int
        (height, width) of the camera frame, in pixels.
    pixel_size_um : float, optional
        Side of a camera pixel in the object, um.
    psf_field : PSFField, optional
        Blur that the model was trained on; None if it was trained on measured pairs.
    step : int
        Optimizer steps behind the weights.
    history : tuple of dict
        Metrics of each validation so far, in order.
    metrics : dict
        Metrics of the validation of these weights.
    noise : Camera, optional
        Noise of the images that it was trained on, if ``config`` gives electrons per count: the
        median photons of a bright pixel and read noise.

    See Also
    --------
    train : Train a model.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import Model, CGUNetConfig, TrainingConfig, build_network
    >>> config = TrainingConfig(network=CGUNetConfig(depth=2, base_channels=4))
    >>> model = Model(config, build_network(config.network).state_dict(), (32, 32))
    >>> model
    Model(cg-unet(2), frame 32x32, step 0)
    >>> model.deblur(np.random.default_rng(0).random((3, 32, 32))).shape
    (3, 32, 32)
    """

    config: TrainingConfig
    weights: Mapping[str, Tensor]
    frame_shape: tuple[int, int]
    pixel_size_um: float | None = None
    psf_field: PSFField | None = None
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    noise: Camera | None = None

    @property
    def camera(self) -> Camera:
        """Noise that it was trained on, in electrons: photons of a bright pixel and read noise."""
        return self.noise or self.config.camera

    @cached_property
    def network(self) -> Network:
        """Network with these weights, on the CPU, in evaluation mode."""
        config = self.config.network
        try:
            samples = PSFSamples.from_weights(self.weights) if config.has_wiener_bank else None
            # Without random weights, which would change the random numbers of a running training.
            with torch.device("meta"):
                network = build_network(config, samples)
            network.load_state_dict(dict(self.weights), assign=True)
        except KeyError as error:
            raise ModelError(f"The weights lack the network's {error}.") from None
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"The weights do not fit the network: {' '.join(str(error).split())}"
            ) from None
        return network.eval().requires_grad_(False)

    @property
    def validation_gain_db(self) -> float | None:
        """Gain over the blurred validation images, dB of PSNR; None if it was not measured."""
        before, after = (self.metrics.get(name) for name in ("blurred_psnr", "psnr"))
        return None if before is None or after is None else after - before

    @property
    def is_better(self) -> bool:
        """Whether results are better than blurred images, as far as that was measured."""
        gain = self.validation_gain_db
        return gain is None or gain >= MIN_GAIN_DB

    def describe_validation(self) -> str:
        """Quality on the validation images, in words that begin with the gain over blurred."""
        gain, psnr = self.validation_gain_db, self.metrics.get("psnr", math.nan)
        figures = f"validation PSNR {psnr:.2f} dB"
        if gain is None:
            return figures
        figures = f"{figures}, blurred {self.metrics['blurred_psnr']:.2f} dB"
        if not self.is_better:
            return f"not better than the blurred images ({figures}); train longer"
        return f"{gain:.1f} dB better than the blurred images ({figures})"

    def __repr__(self) -> str:
        network, (height, width) = self.config.network, self.frame_shape
        depth = f"({len(network.channels)})" if network.channels else ""
        return f"Model({network.architecture}{depth}, frame {height}x{width}, step {self.step})"

    def _repr_html_(self) -> str:
        rows = {
            "network": self.config.network,
            "frame": f"{format_shape(self.frame_shape)} pixels",
            "pixel size": self.pixel_size_um and f"{self.pixel_size_um:g} µm",
            "PSF field": self.psf_field,
            "step": self.step,
            "quality": self.describe_validation() if self.metrics else None,
        }
        return html_table("Model", rows)

    def deblur(
        self,
        image: PixelArray | Image,
        *,
        axes: str | None = None,
        origin: tuple[int, int] | None = None,
        config: DeblurConfig = DEFAULTS,
        runtime: DeblurRuntime = DEFAULT_RUNTIME,
        device: Device | None = None,
        callback: Callable[[Event], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> NDArray[Any]:
        """Deblur an image, or each plane of a stack, of shape (..., H, W); see `deblur`."""
        import napari_coordgate.inference as inference

        return inference.deblur(
            image,
            self,
            axes=axes,
            origin=origin,
            config=config,
            runtime=runtime,
            device=device,
            callback=callback,
            cancel=cancel,
        )

    def gating_maps(
        self, window: Window | None = None, longest_side: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Gating maps over a window of the frame, or over all of it; see `gating_maps`."""
        import napari_coordgate.inference as inference

        return inference.gating_maps(self, window, longest_side)

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        return {
            "version": VERSION,
            "program": __version__,
            "config": self.config.model_dump(mode="json"),
            "frame_shape": list(self.frame_shape),
            "pixel_size_um": self.pixel_size_um,
            "psf_field": self.psf_field.description() if self.psf_field else None,
            "step": self.step,
            "metrics": self.metrics,
            "camera": self.camera.model_dump(mode="json"),
            "history": list(self.history),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Arrays of the model, as a file names them."""
        tensors = {WEIGHTS + name: tensor for name, tensor in self.weights.items()}
        if self.psf_field is not None:
            for name in ("kernels", "coefficients"):
                array = getattr(self.psf_field, name)
                tensors[PSF_FIELD + name] = torch.from_numpy(array).float()
        return tensors

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model to a file; the file appears only when it is complete.

        Parameters
        ----------
        path : str or Path
            File to write, with suffix ``.safetensors``.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists, has another suffix, or cannot be written.
        """
        check_model_name(path)
        write_tensors(path, self.header(), self.tensors(), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model from a file.

        Parameters
        ----------
        path : str or Path
            File of a model, or the checkpoint of an interrupted training.

        Returns
        -------
        Model
            The model; its network is built and checked.

        Raises
        ------
        ModelError
            If the file is missing, truncated, not a model, written by a later version, or
            does not rebuild its network.
        """
        return cls.from_tensors(path, *read_tensors(path))

    @classmethod
    def from_tensors(
        cls, path: str | Path, header: dict[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """Model of the header and the arrays of a file."""
        try:
            model = cls._from(header, tensors)
            model.network  # noqa: B018 - built now, so that a bad file fails here
        except ValidationError as error:
            raise ModelError(f"{path}: damaged header: {format_validation_error(error)}") from None
        except (KeyError, TypeError) as error:
            raise ModelError(f"{path}: damaged arrays ({error!r}).") from None
        except (PSFError, ModelError) as error:
            raise ModelError(f"{path}: {error}") from None
        return model

    @classmethod
    def _from(cls, content: dict[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        header = _Header.model_validate(content)
        psf_field = None
        if header.psf_field is not None:
            kernels, coefficients = (
                tensors[PSF_FIELD + name].numpy() for name in ("kernels", "coefficients")
            )
            psf_field = PSFField.from_description(header.psf_field, kernels, coefficients)
        return cls(
            config=header.config.select(TrainingConfig),
            weights={
                name.removeprefix(WEIGHTS): tensor
                for name, tensor in tensors.items()
                if name.startswith(WEIGHTS)
            },
            frame_shape=header.frame_shape,
            pixel_size_um=header.pixel_size_um,
            psf_field=psf_field,
            step=header.step,
            history=header.history,
            metrics=header.metrics,
            noise=header.camera,
        )


def check_model_name(path: str | Path) -> None:
    """Raise `OutputError` unless a name has the suffix of models."""
    if Path(path).suffix != ".safetensors":
        raise OutputError(f"{path}: the name of a model must end in .safetensors.")


def as_model(model: str | Path | Model) -> Model:
    """Model that is given as such, or by the path of its file."""
    return model if isinstance(model, Model) else Model.load(model)


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file of a model is the checkpoint of an interrupted training."""
    header, _ = read_tensors(path)
    return bool(header.get("progress"))


def is_universal(path: str | Path) -> bool:
    """Whether a file is that of a universal model; False if it cannot be read."""
    try:
        return UNIVERSAL_FORMAT in read_metadata(path)
    except (OSError, ValueError):
        return False


_FrameSide = Annotated[int, Field(gt=0, le=MAX_FRAME_SIDE)]


class _Header(BaseModel):
    """Header of a file, see `Model.header`."""

    config: TrainingSettings
    """The recipe; in files of the former format with the runtime."""
    frame_shape: tuple[_FrameSide, _FrameSide]
    pixel_size_um: PositiveFloat | None
    psf_field: dict[str, Any] | None
    step: NonNegativeInt
    metrics: dict[str, float]
    camera: Camera | None = None
    history: tuple[dict[str, float], ...]


def write_tensors(
    path: str | Path,
    header: dict[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    overwrite: bool,
    file_format: str = FORMAT,
) -> None:
    """Write a header and arrays to a safetensors file, atomically."""
    arrays = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    metadata = {file_format: text, CHECKSUM: _checksum(text, arrays)}
    with atomic_write(Path(path), overwrite=overwrite) as temporary:
        temporary.write_bytes(save(arrays, metadata))


def _checksum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash of all contents of a file: a changed bit would go unnoticed in the weights."""
    digest = hashlib.blake2b(header.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_tensors(
    path: str | Path, formats: Mapping[str, int] = MODEL_FORMATS
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and arrays of a file, with current names; raises ModelError in one line.

    ``formats`` are the accepted keys of the header, each with its version.
    """
    try:
        data = read_file(path)
        tensors, metadata = load(data), metadata_of(data)  # first checked by the library
        key = next((name for name in formats if name in metadata), None)
        if key is None:
            raise ModelError(f"{path}: {_other_kind(metadata)}")
        header = json.loads(metadata[key])
        _check_contents(metadata, metadata[key], tensors)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; train a model with 'napari-coordgate train'."
        ) from None
    except (SafetensorError, OSError, RecursionError, ValueError) as error:
        if Path(path).is_dir():
            raise ModelError(f"{path}: is a folder; give the file of a model.") from None
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            raise ModelError(
                f"{path}: is a TIFF file, not a model; give a .safetensors file."
            ) from None
        raise ModelError(
            f"{path}: is not a complete model file ({' '.join(str(error).split())}); train the "
            "model again, or copy it again."
        ) from None
    if not isinstance(header, dict):
        raise ModelError(f"{path}: damaged header.")
    version = header.get("version")
    if version != formats[key]:
        raise ModelError(
            f"{path}: model of format version {version!r}, but this program reads up to version "
            f"{max(formats.values())}; update napari-coordgate."
        )
    return _with_current_names(header, tensors) if key == FORMER_FORMAT else (header, tensors)


def _check_contents(metadata: Mapping[str, str], header: str, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError if the contents are not those that were written, or no weights.

    Files of earlier versions have no checksum.
    """
    if metadata.get(CHECKSUM, expected := _checksum(header, tensors)) != expected:
        raise ValueError("its contents do not match their checksum")
    for name, tensor in tensors.items():
        is_whole = not (tensor.is_floating_point() or tensor.is_complex())
        if not is_whole and tensor.dtype != torch.float32:
            raise ValueError(f"{name} has numbers of type {tensor.dtype}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite")


def _other_kind(metadata: Mapping[str, str]) -> str:
    """What a file is that is not a model of the expected kind, and what to do."""
    if UNIVERSAL_FORMAT in metadata:
        return "is a universal model, which needs a PSF field; pass it together with one."
    if metadata.keys() & MODEL_FORMATS:
        return "is a model for one lens, not a universal model; use it without a PSF field."
    return "is not a model of napari-coordgate; choose another file."


RENAMED = {
    "regularisation": "regularization",
    "log_regularisation": "log_regularization",
    "psnr_centre": "psnr_center",
    "places": "positions",
}
"""Names in files of the former format, and their current names."""


def _with_current_names(
    header: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and arrays of a file with current names."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {RENAMED.get(key, key): renamed(item) for key, item in value.items()}
        return [renamed(item) for item in value] if isinstance(value, list) else value

    def current(name: str) -> str:
        return ".".join(RENAMED.get(part, part) for part in name.split("."))

    header = renamed(header)
    if isinstance(config := header.get("config"), dict):
        config["network"] = own_settings(config.get("network"))
    return header, {current(name): tensor for name, tensor in tensors.items()}
