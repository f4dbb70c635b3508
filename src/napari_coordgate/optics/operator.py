"""Blur of a PSF field as a linear operator."""

from functools import cached_property

import torch
from torch import Tensor, nn

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window
from napari_coordgate.optics.convolution import ProductConvolution
from napari_coordgate.optics.padding import (
    Array,
    as_tensor,
    check_window,
    pad_mirror,
    pad_mirror_adjoint,
)


class BlurOperator(nn.Module):
    """Spatially varying blur A of a scene onto a window of the frame, and its exact transpose.

    Built by `PSFField.operator`. It has no weights; both directions are batched,
    differentiable, and computed on the device of their input, in double precision if the input
    is, else in single precision.

    Parameters
    ----------
    convolution : ProductConvolution
        Kernels and multipliers of the frame.
    window : Window
        Part of the frame that the blurred image shows.
    scene_window : Window
        Rectangle that the sharp scene covers; it contains the window, and may extend beyond
        the frame. Where it ends within one PSF radius of the window, it is mirrored.
    device : torch.device
        Device on which `sensitivity` is computed.
    """

    def __init__(
        self,
        convolution: ProductConvolution,
        window: Window,
        scene_window: Window,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.window = check_window(window, convolution.frame_shape)
        if not scene_window.contains(window):
            raise FrameMismatchError(
                f"A scene on {scene_window} does not cover {window}; choose a larger scene_window."
            )
        self.scene_window, self.device = scene_window, device
        self._convolution = convolution
        self._input_window = convolution.input_window(window)

    def forward(self, scene: Array) -> Array:
        """Blur a scene (..., H, W) on ``scene_window`` to an image (..., h, w) on ``window``."""
        tensor, back = as_tensor(scene)
        _check_shape(tensor, self.scene_window)
        padded = pad_mirror(tensor, self.scene_window, self._input_window)
        return back(self._convolution.forward(padded, [self.window]))

    def adjoint(self, image: Array) -> Array:
        """Exact transpose of `forward`, (..., h, w) to (..., H, W): <A x, y> = <x, A^T y>."""
        tensor, back = as_tensor(image)
        _check_shape(tensor, self.window)
        padded = self._convolution.adjoint(tensor, self.window)
        return back(pad_mirror_adjoint(padded, self.scene_window, self._input_window))

    @property
    def gain(self) -> Tensor | None:
        """Gain (h, w) of the window's pixels; None without a flat field."""
        if self._convolution.gain is None:
            return None
        like = torch.empty(0, device=self.device)
        return self._convolution.gain_on([self.window], like)

    @cached_property
    def sensitivity(self) -> Tensor:
        """Fraction of the light of each scene pixel that reaches the window, A^T 1, (H, W)."""
        return self.adjoint(torch.ones(self.window.shape, device=self.device))

    def crop(self, scene: Tensor) -> Tensor:
        """Crop a scene (..., H, W) to the window, (..., h, w), without blur."""
        return scene[..., *self.window.within(self.scene_window)]

    def extra_repr(self) -> str:
        """Settings shown by ``repr``."""
        return f"window={self.window}, scene_window={self.scene_window}"


def _check_shape(image: Tensor, window: Window) -> None:
    if tuple(image.shape[-2:]) != window.shape:
        raise FrameMismatchError(
            f"An image of shape {tuple(image.shape)} does not fit {window}; "
            f"pass one of shape (..., {window.height}, {window.width})."
        )
