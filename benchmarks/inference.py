"""Cost of gates: CG U-Net with cached and with computed gating maps, relative to a U-Net."""

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import network_config
from napari_coordgate.devices import resolve_device, to_device
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks import Network, build_network


def measure(size: int = 1024, rounds: int = 9) -> list[Figure]:
    """Measure a forward pass with cached maps over no gates, and with computed over cached maps."""
    device = resolve_device("auto")
    plain, gated = (_ready(architecture, device) for architecture in ("unet", "cg-unet"))
    blurred = torch.rand(1, 1, size, size, device=device)
    coordinates = torch.from_numpy(frame_coordinates((size, size)))[None].to(device)
    with torch.inference_mode():
        maps = gated.coordinate_maps(coordinates)
        without, cached, computed = interleaved_seconds(
            lambda: _done(plain(blurred, coordinates)),
            lambda: _done(gated(blurred, coordinates, maps)),
            lambda: _done(gated(blurred, coordinates)),
            rounds=rounds,
            warm_up=2,
        )
    name = f"CG U-Net(3) at {size}x{size}"
    return [
        Figure(
            f"{name} with cached gating maps, over U-Net(3)",
            median_ratio(cached, without),
            at_most=1.1,
        ),
        Figure(f"{name} with computed gating maps, over cached", median_ratio(computed, cached)),
    ]


def _ready(architecture: str, device: torch.device) -> Network:
    config = network_config(architecture=architecture)
    return to_device(build_network(config).eval().requires_grad_(False), device)


def _done(result: Tensor) -> None:
    """Wait for the device to finish by copying one pixel to the host."""
    result[..., 0, 0].cpu()
