"""Windows of blurred images, and the losses that judge a network of one lens without sharp ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_coordgate.data.equivariance import Moved, moved
from napari_coordgate.data.held_out import BlurredWindows, HeldOut
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.optics import PSFField


class Weights(NamedTuple):
    """Weights of the losses of a window."""

    held_out: float
    equivariance: float


class UnpairedBatch(NamedTuple):
    """Windows of blurred images, for a network of position alone on a device."""

    windows: Sequence[HeldOut]
    psf_field: PSFField
    device: torch.device
    weights: Weights

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Windows without the photons held out (B, 1, h, w), and their coordinates (B, 2, h, w)."""
        kept = [torch.from_numpy(each.kept).to(self.device) for each in self.windows]
        return network_inputs(kept, [each.window for each in self.windows], self.psf_field)

    def held_out_loss(self, deblurred: Tensor) -> Tensor:
        """Weighted sum of the errors of deblurred windows (B, 1, h, w) on the photons held out."""
        errors = [
            window.error(image[0], self.psf_field)
            for window, image in zip(self.windows, deblurred, strict=True)
        ]
        return self.weights.held_out * torch.stack(errors).sum()

    def moved(self, deblurred: Tensor) -> MovedBatch:
        """Deblurred windows (B, 1, h, w) as scenes elsewhere in the frame."""
        scenes = [
            moved(image[0], window, self.psf_field)
            for window, image in zip(self.windows, deblurred, strict=True)
        ]
        return MovedBatch(scenes, self.psf_field, self.weights.equivariance)


class MovedBatch(NamedTuple):
    """Deblurred images as scenes elsewhere in the frame, and the weight of their loss."""

    scenes: Sequence[Moved]
    psf_field: PSFField
    weight: float

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Blurred images of the scenes (B, 1, h, w), and their coordinates (B, 2, h, w)."""
        images = [scene.blurred for scene in self.scenes]
        return network_inputs(images, [scene.window for scene in self.scenes], self.psf_field)

    def loss(self, deblurred: Tensor) -> Tensor:
        """Weighted sum of the errors of the deblurred images (B, 1, h, w) of the scenes."""
        errors = [
            scene.error(image[0]) for scene, image in zip(self.scenes, deblurred, strict=True)
        ]
        return self.weight * torch.stack(errors).sum()


def network_inputs(
    images: Sequence[Tensor], windows: Sequence[Window], psf_field: PSFField
) -> tuple[Tensor, Tensor]:
    """Images (h, w) as a batch (B, 1, h, w), and the coordinates (B, 2, h, w) of their windows."""
    frame = psf_field.frame_shape
    coordinates = np.stack([frame_coordinates(frame, window) for window in windows])
    batch = torch.stack(list(images))[:, None]
    return batch, torch.from_numpy(coordinates).to(batch.device)


def unpaired_batch(
    windows: BlurredWindows, indices: Sequence[int], device: torch.device, weights: Weights
) -> UnpairedBatch:
    """Windows of some indices."""
    chosen = [windows.sample(index) for index in indices]
    return UnpairedBatch(chosen, windows.psf_field, device, weights)
