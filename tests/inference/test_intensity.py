"""Laws of the gray values that are scaled to 0 and 1."""

import numpy as np
import pytest

from napari_coordgate import DeblurConfig, deblur
from napari_coordgate.config import Scaling
from napari_coordgate.errors import SettingsError
from napari_coordgate.inference import IntensityRanges
from napari_coordgate.io import Image, PlaneView, plane_indices
from napari_coordgate.normalization import Normalizer
from tests.inference.making import Pixels, random_model


def ranges_of(image: Image, config: DeblurConfig) -> list[Normalizer | None]:
    ranges = IntensityRanges(image, config, Scaling(low_percentile=0, high_percentile=100))
    return [ranges.of(PlaneView(image.data, index)) for index in plane_indices(image)]


def stack() -> Pixels:
    """Time series of two channels, the second one ten times brighter, with a dropped frame."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 200, (3, 2, 40, 40)).astype(np.float32)
    pixels[:, 1] *= 10
    pixels[1, 0] = 0
    pixels[2, 0, :8, :8] = 5000  # a bright clump
    return pixels


def test_all_planes_of_a_channel_share_the_range_of_a_stack() -> None:
    image = Image(stack(), "TCYX")
    found = ranges_of(image, DeblurConfig(intensity="per-stack"))
    assert found[0::2] == [Normalizer(100, 5000)] * 3  # dropped frames do not count
    assert found[1::2] == [found[1]] * 3
    assert found[1] is not None and found[1].high > 1900
    assert ranges_of(image, DeblurConfig()) == [None] * 6


def test_a_fixed_range_makes_a_bright_clump_local() -> None:
    model = random_model((96, 96), depth=2)
    plain = np.random.default_rng(0).integers(100, 200, (96, 96)).astype(np.float32)
    clump = plain.copy()
    clump[:8, :8] = 5000
    far = slice(8 + model.network.receptive_radius + 1, None)
    fixed = DeblurConfig(intensity="fixed", dark_gray=100, bright_gray=200)
    one, other = (deblur(image, model, config=fixed)[far, far] for image in (plain, clump))
    np.testing.assert_allclose(one, other, atol=1e-3)
    one, other = (deblur(image, model)[far, far] for image in (plain, clump))
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"intensity": "fixed"},
        {"dark_gray": 1.0},
        {"intensity": "fixed", "dark_gray": 5.0, "bright_gray": 5.0},
    ],
)
def test_grays_are_needed_for_a_fixed_range_alone(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="dark_gray"):
        DeblurConfig(**settings)
