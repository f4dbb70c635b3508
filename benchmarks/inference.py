"""What gates cost: CG U-Net with baked and with computed gating maps, over a plain U-Net."""

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import NetworkConfig
from napari_coordgate.devices import resolve_device, to_device
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks import Network, build_network


def measure(size: int = 1024, rounds: int = 9) -> list[Figure]:
    """Measure one forward pass of each."""
    device = resolve_device("auto")
    plain, gated = (_ready(architecture, device) for architecture in ("unet", "cg-unet"))
    blurred = torch.rand(1, 1, size, size, device=device)
    coordinates = torch.from_numpy(frame_coordinates((size, size)))[None].to(device)
    with torch.inference_mode():
        maps = gated.coordinate_maps(coordinates)
        without, baked, computed = interleaved_seconds(
            lambda: _done(plain(blurred, coordinates)),
            lambda: _done(gated(blurred, coordinates, maps)),
            lambda: _done(gated(blurred, coordinates)),
            rounds=rounds,
            warm_up=2,
        )
    name = f"CG U-Net(3) at {size}x{size}"
    return [
        Figure(
            f"{name} with baked gates, over U-Net(3)", median_ratio(baked, without), at_most=1.1
        ),
        Figure(f"{name} with gates computed anew, over baked", median_ratio(computed, baked)),
    ]


def _ready(architecture: str, device: torch.device) -> Network:
    config = NetworkConfig.model_validate({"architecture": architecture})
    return to_device(build_network(config).eval().requires_grad_(False), device)


def _done(result: Tensor) -> None:
    """Wait for a device to finish: one pixel of the result is copied to the host."""
    result[..., 0, 0].cpu()
