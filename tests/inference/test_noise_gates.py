"""Gates of universal models: over the noise, and over the frame where they depend on the pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_coordgate.config import GaussianLens, UniversalTrainingConfig, UnrolledConfig
from napari_coordgate.errors import ModelError
from napari_coordgate.inference import needs_lens, noise_gates, universal_gating_maps
from napari_coordgate.networks import UnrolledNetwork
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel


def universal_model(*coordinates: str) -> UniversalModel:
    """Small model whose gates vary strongly with these coordinates."""
    torch.manual_seed(0)
    network = UnrolledConfig.model_validate(
        {"coordinates": coordinates, "base_channels": 4, "stages": 2, "depth": 3}
    )
    weights = UnrolledNetwork(network).state_dict()
    weights = {name: torch.randn_like(w) for name, w in weights.items()}
    return UniversalModel(UniversalTrainingConfig(network=network), weights)


@pytest.fixture(scope="module")
def psf_field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2.0), (40, 56))


def test_gates_of_the_noise_alone_are_the_same_at_all_pixels(psf_field: PSFField) -> None:
    model = universal_model("noise", "lens")
    assert not needs_lens(model)
    maps = universal_gating_maps(model, psf_field, photons=200, lens_uncertainty=0.2)
    over_noise = noise_gates(model, [200.0], lens_uncertainty=0.2)
    assert maps.keys() == over_noise.keys()
    for name, values in over_noise.items():
        np.testing.assert_allclose(maps[name][:, 0, 0], values[0], rtol=1e-5)


def test_gates_on_the_psf_follow_it_over_the_frame(psf_field: PSFField) -> None:
    model = universal_model("noise", "psf")
    assert needs_lens(model)
    maps = universal_gating_maps(model, psf_field)
    gate = maps["stage 1 down 1"]
    assert gate.shape == (4, 40, 56)
    assert maps["stage 1 down 2"].shape == (8, 20, 28)
    np.testing.assert_allclose(gate, gate[:, ::-1, ::-1], atol=1e-3 * np.abs(gate).max())
    assert np.all(gate.std(axis=(1, 2)) > 0)
    with pytest.raises(ModelError, match="psf"):
        noise_gates(model)


def test_maps_of_a_frame_can_be_reduced_to_fewer_pixels(psf_field: PSFField) -> None:
    model = universal_model("position")
    small = universal_gating_maps(model, psf_field, longest_side=28)
    assert small["stage 2 up 1"].shape == (4, 20, 28)
