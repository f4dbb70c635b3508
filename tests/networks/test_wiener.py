"""Tests of the bank of Wiener filters and of the networks on it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_coordgate.config import GaussianLens, MultiWienerConfig, UNetConfig, network_config
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import Window, frame_coordinates, tiles
from napari_coordgate.networks import (
    MultiWienerNet,
    Network,
    PSFSamples,
    WeightedWiener,
    WienerBank,
    build_network,
)
from napari_coordgate.optics import PSFField

FRAME = (48, 40)
POSITIONS = torch.tensor([[-0.9, -0.9], [-0.9, 0.9], [0.9, -0.9], [0.9, 0.9]], dtype=torch.float64)
ARCHITECTURES = ["multi-wiener", "cg-multi-wiener", "weighted-wiener"]


def gaussian(sigma: float, side: int = 9) -> Tensor:
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    row = torch.exp(-offsets.square() / (2 * sigma**2))
    psf = torch.outer(row, row)
    return psf / psf.sum()


SAMPLES = PSFSamples(torch.stack([gaussian(s) for s in (0.6, 0.8, 1.0, 1.2)]), POSITIONS)


def network(architecture: str, **changes: object) -> Network:
    unet = {} if architecture == "weighted-wiener" else {"base_channels": 2, "depth": 2}
    settings = {"architecture": architecture, **unet, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = build_network(network_config(**settings), SAMPLES)
        for name, parameter in built.named_parameters():
            if "encoder" in name:  # random gates instead of the initial ones
                nn.init.normal_(parameter, std=0.5)
    return built.double().requires_grad_(False)


def coordinates(window: Window, frame_shape: tuple[int, int] = FRAME) -> Tensor:
    return torch.from_numpy(frame_coordinates(frame_shape, window))[None].double()


def random_image(shape: tuple[int, int] = FRAME, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 1, *shape, generator=generator, dtype=torch.float64)


def bank_of(psf: Tensor, regularization: float) -> WienerBank:
    return WienerBank(PSFSamples(psf[None], POSITIONS[:1]), regularization).requires_grad_(False)


def test_the_filter_of_a_delta_is_a_delta() -> None:
    point = torch.zeros(7, 7, dtype=torch.float64)
    point[3, 3] = 1
    image = random_image()
    torch.testing.assert_close(bank_of(point, 0.25)(image), image / 1.25)


@pytest.mark.parametrize("shift", [(0, 0), (1, -2)])
def test_a_filter_inverts_the_blur_and_the_shift_of_its_psf(shift: tuple[int, int]) -> None:
    psf = gaussian(0.7).roll(shift, (0, 1))
    image = functional.conv2d(random_image(), gaussian(1.5)[None, None], padding=4)
    scene = functional.pad(image, (4, 4, 4, 4), mode="replicate")
    blurred = functional.conv2d(scene, psf.flip(0, 1)[None, None])
    restored = bank_of(psf, 1e-5)(blurred)
    inner = (..., slice(12, -12), slice(12, -12))
    assert (restored - image)[inner].abs().max() < 0.05 * (blurred - image)[inner].abs().max()


def test_the_truncated_part_of_a_filter_is_negligible() -> None:
    psf, regularization, side = gaussian(1.2), 0.01, 128
    transfer = torch.fft.rfft2(psf, (side, side))
    whole = torch.fft.irfft2(transfer.conj() / (transfer.abs().square() + regularization))
    cut = bank_of(psf, regularization).filters()[0]
    lost = whole.square().sum() - cut.square().sum()
    assert lost.abs() < 1e-4 * whole.square().sum()


def test_no_light_wraps_around_from_the_opposite_side() -> None:
    image = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    image[..., 38] = 1
    wrapped = network("weighted-wiener").get_submodule("bank")(image)[..., :20]
    assert wrapped.abs().max() < 1e-12


def test_an_image_does_not_depend_on_the_others_in_its_batch() -> None:
    images = random_image(batch=2)
    images[1] *= 1000
    for architecture in ARCHITECTURES:
        built, positions = network(architecture), coordinates(Window.whole(FRAME))
        alone = built(images[:1], positions)
        torch.testing.assert_close(built(images, positions)[:1], alone)


def test_the_learned_regularization_stays_positive() -> None:
    bank = WienerBank(SAMPLES, 0.1)
    optimizer = torch.optim.SGD([bank.log_regularization], lr=100.0)
    for _ in range(3):
        optimizer.zero_grad()
        bank.filters().square().sum().neg().backward()
        optimizer.step()
    assert bank.log_regularization.exp().min() > 0
    assert bank.log_regularization.min() < math.log(0.1)


def test_the_psfs_and_the_regularization_are_learned() -> None:
    names = {name for name, _ in WienerBank(SAMPLES, 0.1).named_parameters()}
    assert names == {"psfs", "log_regularization"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(120, 96), (103, 91)])
def test_overlapping_tiles_equal_the_whole_frame(architecture: str, shape: tuple[int, int]) -> None:
    built = network(architecture)
    image, whole = random_image(shape), Window.whole(shape)
    expected = built(image, coordinates(whole, shape))
    restored = torch.full_like(image, torch.nan)
    pairs = list(tiles(shape, 80, built.receptive_radius, built.multiple))
    assert len(pairs) > 1
    for tile, window in pairs:
        rows, columns = window.within(whole)
        output = built(image[..., rows, columns], coordinates(window, shape))
        restored[:, :, *tile.within(whole)] = output[:, :, *tile.within(window)]
    torch.testing.assert_close(restored, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_precomputed_maps_give_the_same_output(architecture: str) -> None:
    built, positions = network(architecture), coordinates(Window.whole(FRAME))
    image, maps = random_image(), built.coordinate_maps(positions)
    assert torch.equal(
        built(image, torch.full_like(positions, torch.nan), maps), built(image, positions)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 2), (5, 31)])
def test_the_output_has_the_size_of_any_input(architecture: str, shape: tuple[int, int]) -> None:
    restored = network(architecture)(random_image(shape), coordinates(Window(0, 0, *shape)))
    assert restored.shape == (1, 1, *shape)
    assert restored.isfinite().all()


def test_the_interpolation_weights_sum_to_one_and_are_largest_for_the_nearest_psf() -> None:
    frame = (20, 20)
    (weights,) = network("weighted-wiener").coordinate_maps(coordinates(Window.whole(frame), frame))
    torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
    corners = weights[0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners.argmax(0), torch.arange(4))
    middle = weights[0][:, 9:11, 9:11].mean((1, 2))
    torch.testing.assert_close(middle, torch.full_like(middle, 0.25))


def test_interpolation_weights_are_not_gating_maps() -> None:
    assert network("weighted-wiener").gating_maps(coordinates(Window.whole(FRAME))) == ((), ())


def test_at_the_position_of_a_psf_only_its_own_filter_is_used() -> None:
    built = network("weighted-wiener")
    at_a_psf = POSITIONS[2][None, :, None, None]
    (weights,) = built.coordinate_maps(at_a_psf)
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.0, 0, 1, 0]).double())


def test_the_filters_add_their_psfs_to_the_parameters_of_the_unet() -> None:
    plain = build_network(UNetConfig(base_channels=2, depth=2))
    built = network("multi-wiener")
    assert isinstance(built, MultiWienerNet)
    added = sum(p.numel() for p in built.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == SAMPLES.psfs.numel() + 4 + 3 * 2 * 9  # PSFs, regularization, wider input
    assert isinstance(network("weighted-wiener"), WeightedWiener)


@pytest.mark.parametrize(
    "samples",
    [
        PSFSamples(SAMPLES.psfs[:, :8, :8], POSITIONS),
        PSFSamples(SAMPLES.psfs[:, :, :7], POSITIONS),
        PSFSamples(SAMPLES.psfs, POSITIONS[:3]),
        PSFSamples(SAMPLES.psfs[0], POSITIONS),
    ],
)
def test_psfs_of_unsuitable_shape_are_refused(samples: PSFSamples) -> None:
    with pytest.raises(ValueError, match="need PSFs of shape"):
        WienerBank(samples, 0.1)


def test_an_architecture_with_filters_needs_psfs() -> None:
    with pytest.raises(SettingsError, match=r"pass a PSF field, as in build_network\(config"):
        build_network(MultiWienerConfig())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_is_built_from_a_psf_field(architecture: str) -> None:
    psf_field = PSFField.from_lens(GaussianLens(), FRAME)
    config = network_config(architecture=architecture, wiener_side=2)
    psfs = PSFSamples.from_psf_field(psf_field, 2)
    assert psfs.coordinates.abs().min() == pytest.approx(0.977, abs=0.003)
    torch.testing.assert_close(psfs.psfs.sum((-2, -1)), torch.ones(4))
    built = build_network(config, psf_field).state_dict()
    assert torch.equal(built["bank.positions"], psfs.coordinates)
    assert torch.equal(built["bank.psfs"], psfs.psfs / psfs.psfs.amax())


def test_the_gradient_is_zero_beyond_the_receptive_radius() -> None:
    built, shape = network("cg-multi-wiener"), (100, 100)
    image = random_image(shape).requires_grad_()
    built(image, coordinates(Window.whole(shape), shape))[0, 0, 45, 50].backward()
    assert image.grad is not None
    far = image.grad[0, 0].clone()
    radius = built.receptive_radius
    far[45 - radius : 46 + radius, 50 - radius : 51 + radius] = 0
    assert far.abs().max() < 1e-15 * np.abs(image.grad.numpy()).max()
