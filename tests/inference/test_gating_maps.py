"""Gating maps: values, cache, order and figure."""

from pathlib import Path

import numpy as np
import torch

from napari_coordgate.config import CGUNetConfig, TrainingConfig, UNetConfig
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.inference import by_variance, gating_maps, plot_gating_maps
from napari_coordgate.inference.predictor import GatingMapCache
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet


def gated_model(frame: tuple[int, int]) -> Model:
    """Model whose gates vary strongly over the frame."""
    torch.manual_seed(0)
    settings = CGUNetConfig(base_channels=4, depth=3)
    network = UNet.from_config(settings)
    for gate in (*network.down_gates, *network.up_gates):
        torch.nn.init.normal_(gate.encoder[-1].weight)
    return Model(TrainingConfig(network=settings), network.state_dict(), frame)


def test_gating_maps_are_cached_from_their_second_use_on_while_memory_lasts() -> None:
    network = gated_model((64, 64)).network
    windows = [Window(0, 0, 32, 32), Window(32, 0, 32, 32)]
    coordinates = [torch.from_numpy(frame_coordinates((64, 64), w))[None] for w in windows]
    one = sum(gate.nbytes for gate in network.coordinate_maps(coordinates[0]))
    kept = GatingMapCache(network, (64, 64), torch.device("cpu"), 1.5 * one)
    first, second, third = (kept.get(windows[0])[1] for _ in range(3))
    assert first is not second
    assert second is third
    others = [kept.get(windows[1]) for _ in range(3)]
    assert others[1][1] is not others[2][1]
    torch.testing.assert_close(others[1], others[2])
    torch.testing.assert_close(others[1], (coordinates[1], network.coordinate_maps(coordinates[1])))
    kept.disable()
    assert kept.get(windows[0])[1] is not kept.get(windows[0])[1]


def test_gating_maps_are_those_of_the_network(tmp_path: Path) -> None:
    model = gated_model((40, 56))
    model.save(tmp_path / "model.safetensors")
    maps = gating_maps(tmp_path / "model.safetensors")
    assert {name: gate.shape for name, gate in maps.items()} == {
        "down 1": (4, 40, 56),
        "down 2": (8, 20, 28),
        "up 1": (4, 40, 56),
        "up 2": (8, 20, 28),
    }
    window = gating_maps(model, Window(8, 12, 16, 20))
    np.testing.assert_allclose(window["down 2"], maps["down 2"][:, 4:12, 6:16], atol=1e-5)
    settings = UNetConfig(base_channels=4)
    plain = UNet.from_config(settings)
    config = TrainingConfig(network=settings)
    assert gating_maps(Model(config, plain.state_dict(), (40, 56))) == {}


def test_maps_of_a_large_frame_can_be_reduced_to_fewer_pixels() -> None:
    model = gated_model((96, 160))
    maps, small = gating_maps(model), gating_maps(model, longest_side=40)
    assert {name: gate.shape for name, gate in small.items()} == {
        "down 1": (4, 24, 40),
        "down 2": (8, 12, 20),
        "up 1": (4, 24, 40),
        "up 2": (8, 12, 20),
    }
    pooled = maps["down 1"].reshape(4, 24, 4, 40, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(small["down 1"], pooled, atol=0.05)


def test_maps_are_sorted_by_variance() -> None:
    ramp = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)
    gate = np.stack([0.1 * ramp + 7, -3 * ramp, 0 * ramp, ramp])
    assert by_variance(gate).tolist() == [1, 3, 0, 2]


def test_the_figure_has_a_row_for_each_gate() -> None:
    maps = gating_maps(gated_model((24, 32)))
    figure = plot_gating_maps(maps, columns=6)
    drawn = [cell for cell in figure.axes if cell.images]
    assert len(figure.axes) == 6 * len(maps)
    assert len(drawn) == sum(min(6, len(gate)) for gate in maps.values())
    first = by_variance(maps["down 1"])[0]
    assert drawn[0].get_title().startswith(f"down 1, map {first}\n")
    np.testing.assert_array_equal(drawn[0].images[0].get_array(), maps["down 1"][first])
