"""Zero padding: how far its effect reaches, in closed form."""

from pathlib import Path

import pytest
import torch

from napari_coordgate.events import run
from paper.padding import border_effect, convolve, convolve_unet, run_events, uniform


@pytest.mark.parametrize("times", [1, 3, 5])
def test_n_convolutions_reach_exactly_n_pixels(times: int) -> None:
    image = convolve(uniform(12), times)
    inner = image[times:-times, times:-times]
    torch.testing.assert_close(inner, torch.ones_like(inner))
    assert bool((image[times - 1, :] < 1).all())


def test_border_pixels_keep_two_thirds_and_corner_pixels_four_ninths() -> None:
    image = convolve(uniform(12), 1)
    assert float(image[0, 6]) == pytest.approx(2 / 3)
    assert float(image[0, 0]) == pytest.approx(4 / 9)


def test_both_unets_have_the_same_number_of_convolutions() -> None:
    _, deep = convolve_unet(192, 4)
    _, shallow = convolve_unet(192, 2, extra=12)
    assert deep == shallow == 24


def test_down_sampling_carries_the_effect_of_the_border_further_inwards() -> None:
    deep, count = convolve_unet(192, 4)
    shallow, _ = convolve_unet(192, 2, extra=12)
    plain = convolve(uniform(192), count)
    reach = [border_effect(image)["reach_px"] for image in (plain, shallow, deep)]
    assert reach[0] < reach[1] < reach[2]
    assert reach[0] <= count


def test_the_figure_and_its_data_are_written(tmp_path: Path) -> None:
    data = run(run_events(tmp_path / "out"))
    assert [case["side_px"] for case in data["cases"]] == [12, 192, 192, 192]
    assert all((tmp_path / "out" / f"padding.{s}").stat().st_size > 1000 for s in ("json", "png"))
