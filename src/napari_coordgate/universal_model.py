"""Universal model: an unrolled network that deblurs images of any lens, as one file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, NonNegativeInt, ValidationError
from torch import Tensor

from napari_coordgate.config import UniversalTrainingConfig
from napari_coordgate.errors import ModelError, format_validation_error
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.io.model_header import UNIVERSAL_FORMAT
from napari_coordgate.model import (
    WEIGHTS,
    check_model_name,
    read_tensors,
    write_tensors,
)
from napari_coordgate.networks import UnrolledNetwork
from napari_coordgate.representation import html_table
from napari_coordgate.trust import TrustCalibration
from napari_coordgate.version import __version__

VERSION = 1
SHIPPED_NAME = "universal.safetensors"


def shipped_path() -> Path:
    """File of the universal model that is shipped with the package."""
    path = sample_data_folder() / SHIPPED_NAME
    if not path.exists():
        raise ModelError(
            f"The universal model {path} is missing; install napari-coordgate again, or give the "
            "file of one."
        )
    return path


@dataclass(frozen=True, repr=False, eq=False)
class UniversalModel:
    """A trained network that deblurs images of any lens whose PSF field is given.

    Parameters
    ----------
    config : UniversalTrainingConfig
        Recipe of the training; contains the architecture.
    weights : mapping of str to Tensor
        Weights of the network.
    step : int
        Optimizer steps behind the weights.
    history : tuple of dict
        Metrics of each validation so far, in order.
    card : dict
        Model card: training data, range of lenses and noise, figures, as JSON values.
    trust : TrustCalibration, optional
        Calibration of the error that the network predicts, see `assess`.

    See Also
    --------
    deblur : Deblur an image with a PSF field; the shipped universal model is its default method.

    Examples
    --------
    >>> from napari_coordgate import UniversalModel
    >>> from napari_coordgate.config import UniversalTrainingConfig
    >>> from napari_coordgate.networks import UnrolledNetwork
    >>> config = UniversalTrainingConfig()
    >>> UniversalModel(config, UnrolledNetwork(config.network).state_dict())
    UniversalModel(3 stages, step 0)
    """

    config: UniversalTrainingConfig
    weights: Mapping[str, Tensor]
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    trust: TrustCalibration | None = None

    @cached_property
    def network(self) -> UnrolledNetwork:
        """Network with these weights, on the CPU, in evaluation mode."""
        with torch.device("meta"):
            network = UnrolledNetwork(self.config.network)
        try:
            network.load_state_dict(dict(self.weights), assign=True)
        except RuntimeError as error:
            raise ModelError(
                f"The weights do not fit the network: {' '.join(str(error).split())}"
            ) from None
        return network.eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """Version of the weights: the first 16 digits of their SHA-256."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(self.weights[name].detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"UniversalModel({self.config.network.stages} stages, step {self.step})"

    def _repr_html_(self) -> str:
        rows = {
            "network": self.config.network,
            "step": self.step,
            "weights": self.digest,
            "trust": None if self.trust is None else "calibrated",
        }
        return html_table("UniversalModel", rows)

    def header(self) -> dict[str, Any]:
        """Everything but the weights, as JSON values."""
        return {
            "version": VERSION,
            "program": __version__,
            "config": self.config.model_dump(mode="json"),
            "step": self.step,
            "history": list(self.history),
            "card": self.card,
            "trust": None if self.trust is None else self.trust.model_dump(mode="json"),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Weights, as a file names them."""
        return {WEIGHTS + name: tensor for name, tensor in self.weights.items()}

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
        write_tensors(
            path, self.header(), self.tensors(), overwrite=overwrite, file_format=UNIVERSAL_FORMAT
        )

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """Read a universal model from a file.

        Parameters
        ----------
        path : str or Path, optional
            File of the model; default: the model that is shipped with the package.

        Returns
        -------
        UniversalModel
            The model; its network is built and checked.

        Raises
        ------
        ModelError
            If the file is missing, truncated, not a universal model, written by a later version,
            or does not rebuild its network.
        """
        path = shipped_path() if path is None else path
        if not Path(path).exists():
            raise ModelError(f"{path}: no such file; give the file of a universal model.")
        content, tensors = read_tensors(path, {UNIVERSAL_FORMAT: VERSION})
        try:
            header = _Header.model_validate(content)
        except ValidationError as error:
            raise ModelError(f"{path}: damaged header: {format_validation_error(error)}") from None
        weights = {
            name.removeprefix(WEIGHTS): tensor
            for name, tensor in tensors.items()
            if name.startswith(WEIGHTS)
        }
        model = cls(header.config, weights, header.step, header.history, header.card, header.trust)
        try:
            model.network  # noqa: B018 - built now, so that a bad file fails here
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        return model


class _Header(BaseModel):
    """Header of a file, see `UniversalModel.header`."""

    config: UniversalTrainingConfig
    step: NonNegativeInt
    history: tuple[dict[str, float], ...]
    card: dict[str, Any]
    trust: TrustCalibration | None = None
    """Missing in files from before it."""
