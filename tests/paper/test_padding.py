"""Laws of zero padding: how far its effect reaches, in closed form."""

from pathlib import Path

import pytest
import torch

from napari_coordgate.events import finish
from paper.padding import convolved, deviation, run, through_unet


@pytest.mark.parametrize("times", [1, 3, 5])
def test_n_convolutions_reach_n_pixels_and_no_further(times: int) -> None:
    image = convolved(torch.ones(12, 12, dtype=torch.float64), times)
    inner = image[times:-times, times:-times]
    torch.testing.assert_close(inner, torch.ones_like(inner))
    assert bool((image[times - 1, :] < 1).all())


def test_a_pixel_at_the_border_keeps_two_thirds_and_one_in_the_corner_four_ninths() -> None:
    image = convolved(torch.ones(12, 12, dtype=torch.float64), 1)
    assert float(image[0, 6]) == pytest.approx(2 / 3)
    assert float(image[0, 0]) == pytest.approx(4 / 9)


def test_both_unets_have_the_same_number_of_convolutions() -> None:
    _, deep = through_unet(192, 4)
    _, shallow = through_unet(192, 2, extra=12)
    assert deep == shallow == 24


def test_down_sampling_carries_the_border_further_inwards() -> None:
    deep, count = through_unet(192, 4)
    shallow, _ = through_unet(192, 2, extra=12)
    plain = convolved(torch.ones(192, 192, dtype=torch.float64), count)
    reach = [deviation(image)["reach_px"] for image in (plain, shallow, deep)]
    assert reach[0] < reach[1] < reach[2]
    assert reach[0] <= count


def test_the_figure_and_its_data_are_written(tmp_path: Path) -> None:
    end = finish(run("small", None, tmp_path / "out"))
    assert [path.name for path in end.outputs] == ["padding.json", "padding.png"]
    assert all(path.stat().st_size > 1000 for path in end.outputs)
