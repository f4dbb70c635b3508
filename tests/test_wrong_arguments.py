"""Arguments of a wrong kind are errors, in one line, that say what to pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate import (
    ComparisonConfig,
    DeblurConfig,
    GaussianLens,
    Model,
    ModelError,
    OutputError,
    PSFError,
    PSFField,
    RuntimeConfig,
    SettingsError,
    TrainingConfig,
    UNetConfig,
    WienerConfig,
    build_network,
    compare,
    deblur,
    deblur_folder,
    deconvolve,
    estimate_resources,
    richardson_lucy,
    simulate,
    train,
    wiener,
)

IMAGES = np.random.default_rng(0).random((4, 32, 32))
FIELD = PSFField.from_lens(GaussianLens(), (32, 32))
NETWORK = UNetConfig(depth=2, base_channels=2)
MODEL = Model(TrainingConfig(network=NETWORK), build_network(NETWORK).state_dict(), (32, 32))

WITH_PSF_FIELD: dict[str, Callable[[Any], Any]] = {
    "train": lambda field: train("missing images", field),
    "estimate_resources": lambda field: estimate_resources("missing images", field),
    "compare": lambda field: compare([], IMAGES, field, output="unused"),
    "simulate": lambda field: simulate(IMAGES[0], field),
    "richardson_lucy": lambda field: richardson_lucy(IMAGES[0], field, 1),
    "wiener": lambda field: wiener(IMAGES[0], field),
    "deconvolve": lambda field: deconvolve(IMAGES[0], field, WienerConfig()),
}


@pytest.mark.parametrize("wrong", [GaussianLens(), IMAGES[0]], ids=["lens", "array"])
@pytest.mark.parametrize("name", WITH_PSF_FIELD)
def test_something_else_than_a_psf_field_is_an_error(name: str, wrong: Any) -> None:
    with pytest.raises(PSFError, match=r"^Expected a PSF field, got .*; pass a PSFField, e\.g\. "):
        WITH_PSF_FIELD[name](wrong)


@pytest.mark.parametrize("name", ["simulate", "wiener"])
def test_a_psf_field_may_be_passed_as_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "psf.tif"
    FIELD.save(path)
    for given in (path, str(path)):
        np.testing.assert_array_equal(WITH_PSF_FIELD[name](given), WITH_PSF_FIELD[name](FIELD))


@pytest.mark.parametrize("name", ["config", "runtime"])
@pytest.mark.parametrize("wrong", [DeblurConfig, ComparisonConfig(), "fast", None])
def test_settings_of_another_class_are_an_error(name: str, wrong: Any, tmp_path: Path) -> None:
    given: dict[str, Any] = {name: wrong}
    for run in (
        lambda: train(IMAGES, FIELD, **given),
        lambda: estimate_resources(IMAGES, FIELD, **given),
        lambda: deblur(IMAGES, MODEL, **given),
        lambda: deblur_folder(tmp_path, tmp_path / "deblurred", "m.safetensors", **given),
    ):
        with pytest.raises(SettingsError, match=f"^{name} must be a .*; pass {name}="):
            run()


def test_settings_of_a_comparison_of_another_class_are_an_error(tmp_path: Path) -> None:
    methods: list[Any] = [NETWORK]
    config: Any = TrainingConfig()
    with pytest.raises(SettingsError, match="contains a UNetConfig"):
        compare(methods, IMAGES, FIELD, output=tmp_path)
    with pytest.raises(SettingsError, match="must be a ComparisonConfig, got TrainingConfig"):
        compare(methods, IMAGES, FIELD, config=config, output=tmp_path)
    with pytest.raises(SettingsError, match="must be a WienerConfig or RichardsonLucyConfig"):
        deconvolve(IMAGES[0], FIELD, config)


def test_settings_may_be_passed_as_a_dict() -> None:
    given: Any = {"precision": "float32"}
    exact = deblur(IMAGES, MODEL, config=DeblurConfig(precision="float32"))
    np.testing.assert_array_equal(deblur(IMAGES, MODEL, config=given), exact)
    with pytest.raises(SettingsError, match="unknown setting 'presision'"):
        deblur(IMAGES, MODEL, config={"presision": "float32"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "run",
    [
        lambda: train(IMAGES, FIELD, device="gpu"),  # type: ignore[arg-type]
        lambda: deblur(IMAGES, MODEL, device="gpu"),  # type: ignore[arg-type]
        lambda: wiener(IMAGES[0], FIELD, device="gpu"),  # type: ignore[arg-type]
        lambda: RuntimeConfig(device="gpu"),
    ],
)
def test_a_misspelled_device_is_an_error(run: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match=r"gpu|one of '?auto"):
        run()


def test_a_batch_takes_the_file_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.save"):
        deblur_folder(tmp_path, tmp_path / "deblurred", MODEL)  # type: ignore[arg-type]


def test_a_model_is_saved_with_the_suffix_of_models(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.safetensors"):
        MODEL.save(tmp_path / "m.pt")
    assert not any(tmp_path.iterdir())


def test_cancel_is_an_event() -> None:
    with pytest.raises(SettingsError, match=r"cancel must be a threading\.Event, got bool"):
        train(IMAGES, FIELD, cancel=True)  # type: ignore[arg-type]
