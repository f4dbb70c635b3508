"""A checkpoint rebuilds itself: network, PSF field and how they came about, in one file.

Arrays stand in the safetensors format, everything else as JSON in its header.
Loading unpickles nothing and runs no code from the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_coordgate.config import TrainingConfig, TrainingSettings
from napari_coordgate.errors import ModelError, PSFError, format_validation_error
from napari_coordgate.io.files import atomic_write
from napari_coordgate.networks import Network, PSFSamples, build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.version import __version__

__all__ = ["Model"]

FORMAT = "napari-coordgate checkpoint"
VERSION = 1
WEIGHTS, FIELD, STATE = "network.", "psf_field.", "training."


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """A trained network and all that is known of it.

    Attributes
    ----------
    config : TrainingConfig
        How it was trained; holds the network's configuration and the scaling.
    weights : mapping of str to Tensor
        The network's weights.
    frame_shape : tuple of int
        (height, width) of the frame it serves, in pixels.
    pixel_size_um : float or None
        Side of a pixel in the object, um.
    psf_field : PSFField or None
        The blur it was trained on; none where the pairs were measured.
    step : int
        Optimizer steps behind the weights.
    history : tuple of dict
        Figures of each validation, in order.
    metrics : dict
        Figures of the validation that the weights belong to.
    state : mapping of str to Tensor
        What a resumed run needs beside the weights; empty in a finished model.
    progress : dict
        What a resumed run needs beside the tensors, as plain JSON values.
    """

    config: TrainingConfig
    weights: Mapping[str, Tensor]
    frame_shape: tuple[int, int]
    pixel_size_um: float | None = None
    psf_field: PSFField | None = None
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def network(self) -> Network:
        """The network with its weights, on the CPU, ready to deblur."""
        config = self.config.network
        try:
            measured = PSFSamples.from_weights(self.weights) if config.has_wiener_bank else None
            # Without random weights: drawing them would disturb a training that begins beside this.
            with torch.device("meta"):
                network = build_network(config, measured)
            network.load_state_dict(dict(self.weights), assign=True)
        except KeyError as error:
            raise ModelError(f"The weights do not hold the network's {error}.") from None
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"The weights do not fit the network: {' '.join(str(error).split())}"
            ) from None
        return network.eval().requires_grad_(False)

    def __repr__(self) -> str:
        network, (height, width) = self.config.network, self.frame_shape
        return (
            f"Checkpoint({network.architecture}({network.depth}), frame {height}x{width}, "
            f"step {self.step})"
        )

    def header(self) -> dict[str, Any]:
        """All but the arrays, as plain JSON values."""
        return {
            "version": VERSION,
            "program": __version__,
            "config": self.config.model_dump(mode="json"),
            "frame_shape": list(self.frame_shape),
            "pixel_size_um": self.pixel_size_um,
            "psf_field": self.psf_field.description() if self.psf_field else None,
            "step": self.step,
            "metrics": self.metrics,
            "history": list(self.history),
            "progress": self.progress,
        }

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model to a file, which appears when it is whole.

        Parameters
        ----------
        path : str or Path
            File to write, with suffix ``.safetensors``.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists, or cannot be written.
        """
        tensors = {WEIGHTS + name: tensor for name, tensor in self.weights.items()}
        tensors |= {STATE + name: tensor for name, tensor in self.state.items()}
        if self.psf_field is not None:
            tensors[FIELD + "kernels"] = torch.from_numpy(self.psf_field.kernels).float()
            tensors[FIELD + "coefficients"] = torch.from_numpy(self.psf_field.coefficients).float()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_write(Path(path), overwrite=overwrite) as temporary:
            temporary.write_bytes(save(tensors, {FORMAT: json.dumps(self.header())}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model from a file.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Model
            Its network is built and checked.

        Raises
        ------
        ModelError
            If the file is missing, truncated, foreign, of an unknown version, or
            does not rebuild its network.
        """
        header, tensors = _read(path)
        version = header.get("version")
        if version != VERSION:
            raise ModelError(
                f"{path}: model of format version {version!r}, but this program reads version "
                f"{VERSION}; update napari-coordgate."
            )
        header, tensors = _with_current_names(header, tensors)
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
        """Model of a file's header and arrays."""
        header = _Header.model_validate(content)
        psf_field = None
        if header.psf_field is not None:
            kernels, coefficients = (
                tensors[FIELD + name].numpy() for name in ("kernels", "coefficients")
            )
            psf_field = PSFField.from_description(header.psf_field, kernels, coefficients)
        return cls(
            config=header.config.select(TrainingConfig),
            weights=_with_prefix(tensors, WEIGHTS),
            frame_shape=header.frame_shape,
            pixel_size_um=header.pixel_size_um,
            psf_field=psf_field,
            step=header.step,
            history=header.history,
            metrics=header.metrics,
            state=_with_prefix(tensors, STATE),
            progress=header.progress,
        )


class _Header(BaseModel):
    """All but the arrays, as `Checkpoint.header` tells it."""

    config: TrainingSettings
    """With the runtime in older files."""
    frame_shape: tuple[PositiveInt, PositiveInt]
    pixel_size_um: PositiveFloat | None
    psf_field: dict[str, Any] | None
    step: NonNegativeInt
    metrics: dict[str, float]
    history: tuple[dict[str, float], ...]
    progress: dict[str, Any]


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and arrays of a file, whatever is wrong with it said in one line."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise ModelError(
                    f"{path}: holds tensors, but is no checkpoint of napari-coordgate."
                )
            header = json.loads(metadata[FORMAT])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; 'napari-coordgate train' makes one.") from None
    except (SafetensorError, OSError, RecursionError, ValueError) as error:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            raise ModelError(
                f"{path}: is no checkpoint but a TIFF file; give a .safetensors file."
            ) from None
        raise ModelError(
            f"{path}: is no whole checkpoint ({' '.join(str(error).split())}); train it anew, "
            "or copy it again."
        ) from None
    if not isinstance(header, dict):
        raise ModelError(f"{path}: damaged header.")
    return header, tensors


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


RENAMED = {
    "regularisation": "regularization",
    "log_regularisation": "log_regularization",
    "psnr_centre": "psnr_center",
    "places": "positions",
}
"""Names in files of napari-coordgate 0.1 development versions, and what they became."""


def _with_current_names(
    header: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and arrays of a file with the names that are used today."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {RENAMED.get(key, key): renamed(item) for key, item in value.items()}
        return [renamed(item) for item in value] if isinstance(value, list) else value

    def current(name: str) -> str:
        return ".".join(RENAMED.get(part, part) for part in name.split("."))

    return renamed(header), {current(name): tensor for name, tensor in tensors.items()}
