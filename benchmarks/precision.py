"""Speed of bfloat16 and of the channels-last layout, and the PSNR lost by bfloat16."""

from functools import partial
from pathlib import Path

import torch

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import DeblurConfig
from napari_coordgate.demo import blurred_sample
from napari_coordgate.devices import bfloat16_is_faster, resolve_device, to_device
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.inference import deblur
from napari_coordgate.io import find_images
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.networks import Network


def measure(
    sizes: tuple[int, ...] = (512, 1024), rounds: int = 5, images: int | None = None
) -> list[Figure]:
    """Measure forward passes of the starter model, and its PSNR on (some) sample test images."""
    folder = sample_data_folder()
    figures = []
    for size in sizes:
        figures += _speeds(folder / "starter.safetensors", size, rounds)
    starter = Model.load(folder / "starter.safetensors")
    paths = find_images(folder / "test")[:images]
    lost = [_lost_db(path, starter, seed) for seed, path in enumerate(paths)]
    return [*figures, Figure("largest PSNR loss by bfloat16", max(lost), "dB", at_most=0.02)]


def _speeds(path: Path, size: int, rounds: int) -> list[Figure]:
    device = resolve_device("auto")
    contiguous, channels_last = (Model.load(path).network for _ in range(2))
    contiguous.to(device)
    to_device(channels_last, device)
    blurred = torch.rand(1, 1, size, size, device=device)
    coordinates = torch.from_numpy(frame_coordinates((size, size)))[None].to(device)
    with torch.inference_mode():
        maps = channels_last.coordinate_maps(coordinates)

        def run(network: Network, bfloat16: bool) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                network(blurred, coordinates, maps)[..., 0, 0].cpu()

        plain, last, bfloat16 = interleaved_seconds(
            partial(run, contiguous, False),
            partial(run, channels_last, False),
            partial(run, channels_last, True),
            rounds=rounds,
        )
    target = 1.6 if bfloat16_is_faster(device) else None
    name = f"speed at {size}x{size}:"
    return [
        Figure(f"{name} bfloat16 over float32", median_ratio(last, bfloat16), at_least=target),
        Figure(f"{name} channels-last over contiguous", median_ratio(plain, last)),
    ]


def _lost_db(path: Path, starter: Model, seed: int) -> float:
    """Return the PSNR of an image deblurred in float32 minus that in bfloat16."""
    sample = blurred_sample(path, starter, seed)
    full, half = (
        deblur(sample.blurred, starter, config=config)
        for config in (DeblurConfig(precision="float32"), DeblurConfig(precision="bfloat16"))
    )
    sharp = sample.sharp
    return psnr(sharp, full, sample.data_range) - psnr(sharp, half, sample.data_range)
