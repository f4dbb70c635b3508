"""Network, optimizer and averaged weights: all that a step changes."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from napari_coordgate.config import TrainingConfig
from napari_coordgate.data import Batch
from napari_coordgate.devices import to_device
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.networks import Network, PSFSamples, build_network
from napari_coordgate.optics import PSFField, PSFGrid
from napari_coordgate.training.memory import try_or_oom
from napari_coordgate.training.ranks import ProcessGroup
from napari_coordgate.training.schedule import averaging

__all__ = ["Learner"]


class Learner:
    """A network that descends the gradient of its error, and the average of its weights.

    Parameters
    ----------
    config : TrainingConfig
        The network and how to train it.
    ranks : Ranks
        Who trains it, and where.
    field : PSFField, optional
        The blur, whose PSFs a bank of Wiener filters starts from.

    Attributes
    ----------
    network : Network
        The weights in training, random as the seed tells.
    averaged : AveragedModel
        The averaged weights, as a network ``averaged.module``.
    optimizer : Adam
        The optimizer.
    """

    def __init__(
        self, config: TrainingConfig, ranks: ProcessGroup, field: PSFField | None = None
    ) -> None:
        self.ranks = ranks
        self.batch_size = config.batch_size
        self.network = to_device(_seeded_network(config, field), ranks.device)
        self.averaged = AveragedModel(self.network, multi_avg_fn=averaging(config.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self._model, self._fabric_optimizer = ranks.fabric.setup(
            self.network, self.optimizer, move_to_device=False
        )

    @property
    def rate(self) -> float:
        """Learning rate by now."""
        return float(self.optimizer.param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate

    def initialize(self, weights: Mapping[str, Tensor]) -> None:
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

    def gradient(self, batch: Batch) -> Tensor:
        """Mean squared error, weighted so that every pixel of the frame counts alike."""
        self.optimizer.zero_grad()
        # DDP's own exchange amid the way back would wait for a rank whose memory was too small.
        with self.ranks.fabric.no_backward_sync(self._model):
            restored = self._model(batch.blurred, batch.coordinates)
            loss: Tensor = (batch.weights * (restored.float() - batch.sharp).square()).mean()
            self.ranks.fabric.backward(loss)
        return loss.detach()

    def descend(self, loss: Tensor) -> float:
        """Step down the gradient over the whole batch; its loss before the step.

        Parameters
        ----------
        loss : Tensor
            What `gradient` told of this rank's share of the batch.

        Returns
        -------
        float
            Loss of the whole batch, the same on all ranks.
        """
        if self.ranks.size > 1:
            loss = self._mean_over_batch(loss)
        self._fabric_optimizer.step()
        return loss.item()

    def _mean_over_batch(self, loss: Tensor) -> Tensor:
        """Loss over all ranks; the gradients become those over all ranks, too."""
        gradients = [w.grad for w in self.network.parameters() if w.grad is not None]
        share = len(self.ranks.share(self.batch_size)) / self.batch_size
        mean = share * torch.cat([part.flatten() for part in (*gradients, loss)])
        self.ranks.all_reduce(mean)
        *parts, loss = mean.split([part.numel() for part in (*gradients, loss)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return loss

    def fits(self, batch_size: int, window_size: int) -> bool:
        """Whether the gradient of so many windows of this size stays within the memory."""
        return try_or_oom(lambda: self.gradient(self.blank(batch_size, window_size))) is not None

    def blank(self, batch_size: int, window_size: int) -> Batch:
        """Batch of this size that shows nothing."""
        image = torch.zeros((batch_size, 1, window_size, window_size), device=self.ranks.device)
        return Batch(image, image, image.expand(-1, 2, -1, -1), image)


def _seeded_network(config: TrainingConfig, field: PSFField | None) -> Network:
    """Network whose random weights follow from the seed."""
    measured = _measured(field, config) if config.network.has_wiener_bank else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config.network, measured)


def _measured(field: PSFField | None, config: TrainingConfig) -> PSFSamples:
    """PSFs on a grid over the frame, for Wiener filters to start from."""
    architecture, side = config.network.architecture, config.network.wiener_side
    if field is None:
        raise SettingsError(
            f"A network of architecture {architecture} begins with the PSFs of the lens; train it "
            "with a PSF field, or choose another architecture."
        )
    grid = PSFGrid.from_psf_field(field, side)
    places = pixel_coordinates(grid.positions, field.frame_shape)
    return PSFSamples(*(torch.from_numpy(array).float() for array in (grid.psfs, places)))
