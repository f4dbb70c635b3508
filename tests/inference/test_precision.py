"""Inference in bfloat16."""

from typing import Literal, get_args

import numpy as np
import pytest

from napari_coordgate.config import DeblurConfig
from napari_coordgate.geometry import Window
from napari_coordgate.inference import Predictor, deblur
from tests.inference.making import identity_model, noise, random_model

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def test_bfloat16_changes_little_and_scaling_and_residual_stay_float32() -> None:
    image = noise((64, 64))
    values = {
        precision: deblur(image, random_model((64, 64)), config=DeblurConfig(precision=precision))
        for precision in PRECISIONS
    }
    correction = np.ptp(values["float32"] - image)
    difference = np.abs(values["bfloat16"] - values["float32"]).max()
    assert 0 < difference < 0.1 * correction
    assert values["bfloat16"].dtype == np.float32
    unchanged = deblur(image, identity_model((64, 64)), config=DeblurConfig(precision="bfloat16"))
    np.testing.assert_allclose(unchanged, image, atol=2e-4)


@pytest.mark.parametrize("gains", [True, False])
def test_auto_precision_is_bfloat16_only_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, gains: bool
) -> None:
    model, image = random_model((40, 40)), noise((40, 40))
    expected = DeblurConfig(precision="bfloat16" if gains else "float32")
    monkeypatch.setattr("napari_coordgate.inference.predictor.bfloat16_is_faster", lambda _: gains)
    np.testing.assert_array_equal(deblur(image, model), deblur(image, model, config=expected))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_cached_gating_maps_do_not_change_the_result_in_either_precision(
    precision: Precision,
) -> None:
    model, image = random_model((64, 24)), (noise((64, 24)) / 200).astype(np.float32)
    predictor = Predictor(model, DeblurConfig(precision=precision))
    first, _, kept = (predictor.predict(image, Window.whole((64, 24))) for _ in range(3))
    np.testing.assert_array_equal(kept, first)
