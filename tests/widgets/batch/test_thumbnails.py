"""Thumbnails of an image, blurred and deblurred."""

import numpy as np
import pytest

from napari_coordgate.widgets.batch.thumbnails import to_gray


def test_thumbnails_of_a_pair_have_the_same_gray_scale() -> None:
    ramp = np.linspace(5, 9, 10_000, dtype=np.float32).reshape(100, 100)
    dim, bright = to_gray(ramp, 5 + 2 * (ramp - 5))
    assert int(dim.max()) == pytest.approx(int(bright.max()) / 2, abs=2)
    assert bright.max() == 255
    assert to_gray(np.zeros((3, 4), np.float32))[0].max() == 0
