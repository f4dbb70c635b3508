"""Tests of the messages for invalid settings: setting, value, and what is allowed."""

from typing import Any

import pytest
from pydantic import ValidationError

from napari_coordgate.config import TrainingConfig
from napari_coordgate.errors import format_validation_error


def message(values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate(values)
    return format_validation_error(caught.value, TrainingConfig)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"stepz": 3}, "unknown setting 'stepz'; did you mean 'steps'?"),
        ({"qqqqqq": 3}, "unknown setting 'qqqqqq'"),
        ({"gain": "1,5"}, "gain: must be a number (given: '1,5'; write a decimal point)"),
        ({"gain": 0.5}, "gain: must be at least 1 (given: 0.5)"),
        ({"augment": "perhaps"}, "augment: must be true or false (given: 'perhaps')"),
        ({"border": "sky"}, "border: must be one of scene, mirror (given: 'sky')"),
        ({"seed": 0.5}, "seed: must be a whole number (given: 0.5)"),
        ({"network": {"dept": 2}}, "unknown setting 'network.dept'; did you mean 'network.depth'?"),
        ({"depth": 2}, "unknown setting 'depth'; did you mean 'network.depth'?"),
        ({"camera": {"photons": 0}}, "camera.photons: must be above 0 (given: 0)"),
    ],
)
def test_an_invalid_setting_is_explained(values: dict[str, Any], line: str) -> None:
    assert message(values) == line


def test_every_invalid_setting_is_listed() -> None:
    assert message({"seed": -1, "gain": "x"}).count("; ") == 1
