"""Laws of the unrolled network and of the coordinates of its gates."""

import numpy as np
import pytest
import torch

from napari_coordgate import GaussianLens, PSFField, Window
from napari_coordgate.config import UnrolledConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.networks import Noise, UnrolledNetwork, scene_coordinates
from napari_coordgate.optics import BlurOperator


@pytest.fixture(scope="module")
def psf_field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2.0), (48, 64))


def operator_of(psf_field: PSFField, window: Window) -> BlurOperator:
    scene_window = psf_field.input_window(window)
    return psf_field.operator(window, scene_window=scene_window, device=torch.device("cpu"))


def inputs_of(
    psf_field: PSFField, config: UnrolledConfig, photons: float = 1000
) -> tuple[torch.Tensor, torch.Tensor, BlurOperator, Noise]:
    """Blurred image of two points, and what the network is told of it."""
    operator = operator_of(psf_field, Window.whole(psf_field.frame_shape))
    scene = torch.full(operator.scene_window.shape, 0.1)
    scene[20, 20] = scene[40, 50] = 5
    noise = Noise.of(photons, 2.0)
    coordinates = scene_coordinates(config, noise, 0.1, psf_field, operator)
    return operator(scene)[None, None], coordinates, operator, noise


def test_training_starts_at_richardson_lucy(psf_field: PSFField) -> None:
    """An untrained network sharpens a point from stage to stage, and makes nothing negative."""
    config = UnrolledConfig()
    blurred, coordinates, operator, noise = inputs_of(psf_field, config, photons=1e6)
    with torch.inference_mode():
        results = UnrolledNetwork(config).all_stages(blurred, coordinates, operator, noise)
    peaks = [float(image.max()) for image in (blurred, *(result.image for result in results))]
    assert peaks == sorted(peaks)
    assert peaks[-1] > 1.5 * peaks[0]
    assert all(float(result.image.min()) >= 0 for result in results)


def test_the_light_of_a_scene_is_kept(psf_field: PSFField) -> None:
    blurred, coordinates, operator, noise = inputs_of(psf_field, UnrolledConfig(), photons=1e6)
    with torch.inference_mode():
        image = UnrolledNetwork(UnrolledConfig())(blurred, coordinates, operator, noise).image
    assert float(image.mean()) == pytest.approx(float(blurred.mean()), rel=0.02)


def test_a_batch_is_its_images(psf_field: PSFField) -> None:
    """Images of one lens can be deblurred together, each with its own noise."""
    config = UnrolledConfig(base_channels=4)
    blurred, _, operator, _ = inputs_of(psf_field, config)
    network, images = UnrolledNetwork(config).eval(), torch.cat([blurred, 2 * blurred])
    noise = Noise(torch.tensor([100.0, 5000.0]).view(2, 1, 1, 1), torch.ones(2, 1, 1, 1))
    lens = torch.zeros(2, 1, 1, 1)
    coordinates = torch.cat([noise.coordinates, lens], dim=1)
    with torch.inference_mode():
        together = network(images, coordinates, operator, noise).image
        for i in range(2):
            one = Noise(noise.photons[i : i + 1], noise.read_noise[i : i + 1])
            alone = network(images[i : i + 1], coordinates[i : i + 1], operator, one).image
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coordinates", [(), ("noise",), ("psf", "position"), ("lens", "psf")])
def test_every_choice_of_coordinates_can_be_trained(
    psf_field: PSFField, coordinates: tuple[str, ...]
) -> None:
    config = UnrolledConfig(coordinates=coordinates, base_channels=4, stages=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UnrolledNetwork(config)
    inputs = inputs_of(psf_field, config)
    result = network(*inputs)
    (result.image.mean() + result.log_error.mean()).backward()
    gates = [p for name, p in network.named_parameters() if "gates" in name]
    assert bool(gates) == bool(coordinates)
    heads = [p for name, p in network.named_parameters() if name.endswith("head.weight")]
    assert sum(float(p.grad.abs().sum()) for p in heads if p.grad is not None) > 0


def test_psf_coordinates_are_the_widths_of_the_psfs(psf_field: PSFField) -> None:
    config = UnrolledConfig(coordinates=("psf",))
    window = Window(0, 0, 48, 64)
    operator = operator_of(psf_field, window)
    widths = scene_coordinates(config, Noise.of(100, 0), 0, psf_field, operator)[0].exp()
    row, column = -operator.scene_window.y0 + 24, -operator.scene_window.x0 + 32
    psf = psf_field.psf_at(24, 32)
    distance = np.arange(psf_field.size) - psf_field.radius
    expected = np.sqrt(psf.sum(1) @ distance**2)
    assert float(widths[0, row, column]) == pytest.approx(expected, rel=1e-3)
    assert float(widths[0, row - 24, column - 32]) > 1.5 * float(widths[0, row, column])


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="ascending"):
        UnrolledConfig(iterations=(5, 3, 10))
