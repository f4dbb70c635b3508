"""Network, optimiser and averaged weights: all that a step changes."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from napari_coordgate.config import TrainingConfig
from napari_coordgate.coordinates import pixel_coordinates
from napari_coordgate.devices import to_device
from napari_coordgate.errors import SettingsError
from napari_coordgate.networks import MeasuredPSFs, Network, build_network
from napari_coordgate.optics import PSFField, PSFGrid
from napari_coordgate.pairs import Batch
from napari_coordgate.training.memory import attempt
from napari_coordgate.training.schedule import averaging

__all__ = ["Learner"]


class Learner:
    """A network that descends the gradient of its error, and the average of its weights.

    Parameters
    ----------
    config : TrainingConfig
        The network and how to train it.
    device : torch.device
        Where to.
    field : PSFField, optional
        The blur, whose PSFs a bank of Wiener filters starts from.

    Attributes
    ----------
    network : Network
        The weights in training, random as the seed tells.
    averaged : AveragedModel
        The averaged weights, as a network ``averaged.module``.
    optimizer : Adam
        The optimiser.
    """

    def __init__(
        self, config: TrainingConfig, device: torch.device, field: PSFField | None = None
    ) -> None:
        self.device = device
        self.network = to_device(_seeded_network(config, field), device)
        self.averaged = AveragedModel(self.network, multi_avg_fn=averaging(config.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self._fabric = _build_fabric(config, device)
        self._model, self._fabric_optimizer = self._fabric.setup(
            self.network, self.optimizer, move_to_device=False
        )

    @property
    def rate(self) -> float:
        """Learning rate by now."""
        return float(self.optimizer.param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate

    def initialise(self, weights: Mapping[str, Tensor]) -> None:
        """Start from these weights instead of random ones.

        Raises
        ------
        SettingsError
            If they are of Wiener filters for PSFs of another size.
        """
        try:
            self.network.load_state_dict(dict(weights))
        except RuntimeError:
            raise SettingsError(
                "The checkpoint to fine-tune holds Wiener filters for PSFs of another size than "
                "the PSF field's; train a new network for this lens."
            ) from None
        self.averaged.module.load_state_dict(dict(weights))

    def descend(self, batch: Batch) -> float:
        """Loss before a step down its gradient."""
        loss = self.gradient(batch)
        self._fabric_optimizer.step()
        return loss.item()

    def gradient(self, batch: Batch) -> Tensor:
        """Mean squared error, weighted so that every pixel of the frame counts alike."""
        self.optimizer.zero_grad()
        restored = self._model(batch.blurred, batch.coordinates)
        loss: Tensor = (batch.weights * (restored.float() - batch.sharp).square()).mean()
        self._fabric.backward(loss)
        return loss.detach()

    def fits(self, batch_size: int, window_size: int) -> bool:
        """Whether the gradient of so many windows of this size stays within the memory."""
        return attempt(lambda: self.gradient(self.blank(batch_size, window_size))) is not None

    def blank(self, batch_size: int, window_size: int) -> Batch:
        """Batch of this size that shows nothing."""
        image = torch.zeros((batch_size, 1, window_size, window_size), device=self.device)
        return Batch(image, image, image.expand(-1, 2, -1, -1), image)


def _seeded_network(config: TrainingConfig, field: PSFField | None) -> Network:
    """Network whose random weights follow from the seed."""
    measured = _measured(field, config) if config.network.has_wiener_bank else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config.network, measured)


def _measured(field: PSFField | None, config: TrainingConfig) -> MeasuredPSFs:
    """PSFs on a grid over the frame, for Wiener filters to start from."""
    architecture, side = config.network.architecture, config.network.wiener_side
    if field is None:
        raise SettingsError(
            f"A network of architecture {architecture} begins with the PSFs of the lens; train it "
            "with a PSF field, or choose another architecture."
        )
    grid = PSFGrid.from_field(field, side)
    places = pixel_coordinates(grid.places, field.frame_shape)
    return MeasuredPSFs(*(torch.from_numpy(array).float() for array in (grid.psfs, places)))


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
