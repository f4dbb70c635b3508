"""Training with pairs simulated on the fly, relative to a bare loop on ready tensors."""

from collections.abc import Callable, Generator

import numpy as np
import torch
from torch.nn import functional

from benchmarks.blur import LENS
from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import Camera, Lens, TrainingConfig
from napari_coordgate.devices import resolve_device, to_device
from napari_coordgate.events import Event, Progress
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train_events

SAMPLE_LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=8)
FRAME = (256, 256)
IMAGES = 8
WARM_UP = 3


def measure(rounds: int = 40, config: TrainingConfig | None = None) -> list[Figure]:
    """Measure interleaved steps with the lens of the sample data, and with one of higher rank."""
    config = config or TrainingConfig(camera=Camera(photons=5000, read_noise=3))
    target = 0.95 if resolve_device("auto").type == "cuda" else 0.85
    return [
        _over_bare_loop(rounds, config, SAMPLE_LENS, target),
        _over_bare_loop(rounds, config, LENS, None),
    ]


def _over_bare_loop(
    rounds: int, config: TrainingConfig, lens: Lens, target: float | None
) -> Figure:
    steps = WARM_UP + rounds + 1  # the last step, which validates, is not run
    config = config.model_copy(update={"steps": steps, "epochs": None, "validate_every": steps})
    sharp = np.random.default_rng(0).random((IMAGES, *FRAME), np.float32)
    field = PSFField.from_lens(lens, FRAME)
    events = train_events(sharp, field, config=config)
    ours, bare = interleaved_seconds(
        lambda: _next_step(events), _bare_step(config), rounds=rounds, warm_up=WARM_UP
    )
    events.close()
    name = (
        f"training steps/s (batch {config.batch_size}, windows of {config.window_size}) with pairs "
        f"simulated on the fly at rank {field.rank}, over a bare loop on ready tensors"
    )
    return Figure(name, median_ratio(bare, ours), at_least=target)


def _next_step(events: Generator[Event, None, object]) -> None:
    """Run a training until its next step is done."""
    for event in events:
        if isinstance(event, Progress) and event.stage == "training":
            return


def _bare_step(config: TrainingConfig) -> Callable[[], object]:
    """Return an optimizer step in plain PyTorch on one ready batch."""
    device = resolve_device("auto")
    network = to_device(build_network(config.network), device)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    shape = (config.batch_size, 1, config.window_size, config.window_size)
    blurred, sharp = torch.rand(2, *shape, device=device)
    coordinates = torch.from_numpy(frame_coordinates(shape[-2:]))[None].to(device)
    coordinates = coordinates.repeat(config.batch_size, 1, 1, 1)
    mixed = config.precision == "bfloat16"

    def step() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            restored = network(blurred, coordinates)
        loss = functional.mse_loss(restored.float(), sharp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
