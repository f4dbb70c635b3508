"""Law of the total variation: `curvature` is minus its gradient."""

import torch

from napari_coordgate.optics.total_variation import EPS, curvature


def test_the_curvature_is_minus_the_gradient_of_the_total_variation() -> None:
    image = torch.rand(2, 12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    down = torch.diff(image, dim=-2, append=image[:, -1:])
    right = torch.diff(image, dim=-1, append=image[..., -1:])
    (down.square() + right.square() + EPS).sqrt().sum().backward()
    assert image.grad is not None
    torch.testing.assert_close(curvature(image.detach()), -image.grad)
