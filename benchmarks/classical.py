"""An iteration of Richardson-Lucy with a PSF field, relative to its Fourier transforms."""

import numpy as np
import torch

from benchmarks.blur import field_of_rank
from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import RichardsonLucyConfig
from napari_coordgate.deconvolution.richardson_lucy import richardson_lucy_iterations
from napari_coordgate.geometry import Window

ENDLESS = RichardsonLucyConfig(num_iter=10**9)


def measure(size: int = 1024, rounds: int = 15) -> list[Figure]:
    """Measure an accelerated iteration with the PSF of each pixel."""
    field = field_of_rank(size)
    image = np.random.default_rng(0).random((size, size), dtype=np.float32)
    window = Window.whole((size, size))
    blur = field.operator(window, scene_window=field.input_window(window))
    steps = richardson_lucy_iterations(image, blur, ENDLESS, None)
    shape = blur.scene_window.shape
    padded = torch.rand(shape, device=blur.device)

    def transforms() -> None:
        """Run as many transforms as a blur and its adjoint need: R + 1 each way."""
        for _ in range(field.rank + 1):
            spectrum = torch.fft.rfft2(padded)
        for _ in range(field.rank + 1):
            back = torch.fft.irfft2(spectrum, shape)
        back[0, 0].cpu()

    iteration, bare = interleaved_seconds(
        lambda: next(steps)[0, 0].cpu(), transforms, rounds=rounds, warm_up=2
    )
    name = f"Richardson-Lucy iteration, {size}x{size} at rank {field.rank}, over its transforms"
    return [Figure(name, median_ratio(iteration, bare), at_most=1.3)]
