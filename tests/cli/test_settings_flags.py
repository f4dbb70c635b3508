import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.config import (
    Camera,
    CGUNetConfig,
    NetworkConfig,
    TrainingConfig,
    load_settings,
)
from napari_coordgate.config.base import nested_fields
from napari_coordgate.errors import SettingsError


def given(flags: dict[str, Any], file: Path | None = None) -> CliSettings[TrainingConfig]:
    settings = TrainingConfig() if file is None else load_settings(TrainingConfig, file)
    named = settings.model_dump(exclude_unset=True)
    return CliSettings(TrainingConfig, tuple(TrainingConfig.model_fields), flags, named)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("steps: 30\nnetwork:\n  depth: 4\n  base_channels: 8\n")
    return path


def test_nothing_given_means_the_defaults() -> None:
    assert given({}).settings() == TrainingConfig()


def test_flags_go_before_the_file_and_the_file_before_other_defaults(file: Path) -> None:
    flags = {"network": {"depth": 5}}
    other = {"steps": 7, "seed": 7, "network": {"encoder_layers": 3, "depth": 2}}
    settings = given(flags, file).settings(other)
    assert settings.network == CGUNetConfig(depth=5, base_channels=8, encoder_layers=3)
    assert (settings.steps, settings.seed) == (30, 7)


def test_a_flag_equal_to_the_default_still_goes_before_the_file(file: Path) -> None:
    assert given({"steps": TrainingConfig().steps}, file).settings().steps == TrainingConfig().steps


def test_a_wrong_value_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"network\.depth.*given: 9"):
        given({"network": {"depth": 9}}, file).settings()


def test_settings_come_back_from_the_yaml_they_are_written_as(tmp_path: Path) -> None:
    settings = TrainingConfig(camera=Camera(photons=500), seed=3)
    path = tmp_path / "run.yaml"
    path.write_text(given({}).to_yaml(settings))
    assert given({}, path).settings() == settings


def test_a_command_with_some_of_the_settings_writes_only_these() -> None:
    some = CliSettings(TrainingConfig, ("camera", "seed"), {}, {})
    assert set(yaml.safe_load(some.to_yaml(TrainingConfig()))) == {"camera", "seed"}


def test_a_command_gets_flags_for_nested_settings_too() -> None:
    @settings_flags(TrainingConfig, "network", "seed")
    def command(name: str, given: CliSettings[TrainingConfig]) -> None: ...

    names = set(inspect.signature(command).parameters)
    nested = (nested_fields(NetworkConfig).keys() - {"architecture"}) | {
        "network",
        "regularisation",
    }
    assert names == {"context", "config", "name", "seed"} | nested
