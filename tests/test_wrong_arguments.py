"""Arguments of a wrong kind are errors, in one line, that say what to pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate import (
    CGUNetConfig,
    ComparisonConfig,
    DeblurConfig,
    FrameMismatchError,
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
    Window,
    build_network,
    compare,
    deblur,
    deblur_folder,
    deconvolve,
    estimate_resources,
    gating_maps,
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


@pytest.mark.parametrize("wrong", [{"na": 0.5}, IMAGES, FIELD], ids=["dict", "psfs", "field"])
def test_something_else_than_a_lens_is_an_error(wrong: Any) -> None:
    with pytest.raises(PSFError, match=r"^Expected a lens, got \w+; pass a Lens, a Gaussian"):
        PSFField.from_lens(wrong, (32, 32))


def test_a_lens_may_be_passed_as_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lens.yaml"
    path.write_text("sigma_center_px: 0.5\nsigma_edge_px: 1.5\n")
    psf_field = PSFField.from_lens(path, (32, 32))
    assert psf_field.source == PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), (32, 32)).source
    with pytest.raises(SettingsError, match="no such file"):
        PSFField.from_lens(str(tmp_path / "missing.yaml"), (32, 32))


@pytest.mark.parametrize("shape", [32, (32,), (32, 0), (32.5, 32), (3, 32, 32), "ab"])
def test_a_frame_shape_is_two_positive_integers(shape: Any) -> None:
    builds: list[Callable[[], PSFField]] = [
        lambda: PSFField.from_lens(GaussianLens(), shape),
        lambda: PSFField.from_psfs(np.ones((1, 3, 3)), [[1, 1]], shape),
    ]
    for build in builds:
        with pytest.raises(PSFError, match=r"two positive integers, got .*; pass the \(height"):
            build()


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), "high"])
def test_a_tolerance_is_positive(tolerance: Any) -> None:
    with pytest.raises(SettingsError, match=r"^tolerance: must be"):
        PSFField.from_lens(GaussianLens(), (32, 32), tolerance)


def test_a_window_may_be_a_plain_tuple() -> None:
    window = Window(4, 6, 12, 10)
    plain: Any = tuple(window)
    np.testing.assert_array_equal(
        FIELD.operator(plain, scene_window=(0, 0, 32, 32), device="cpu")(IMAGES[0]),  # type: ignore[arg-type]
        FIELD.blur(IMAGES[0], window=window),
    )
    np.testing.assert_array_equal(
        FIELD.blur(IMAGES[0], window=plain), FIELD.blur(IMAGES[0], window=window)
    )
    config = CGUNetConfig(depth=2, base_channels=2)
    model = Model(TrainingConfig(network=config), build_network(config).state_dict(), (32, 32))
    maps = gating_maps(model, plain)
    assert maps["down 1"].shape == (2, 12, 10)
    with pytest.raises(FrameMismatchError, match=r"pass Window\("):
        gating_maps(model, (4, 6))  # type: ignore[arg-type]


@pytest.mark.parametrize("origin", [(0.5, 0), (1,), 3])
def test_an_origin_that_is_not_two_whole_numbers_is_an_error(origin: Any) -> None:
    crop = IMAGES[0, :16, :16]
    uses: list[Callable[[], Any]] = [
        lambda: deblur(crop, MODEL, origin=origin),
        lambda: wiener(crop, FIELD, origin=origin),
        lambda: FIELD.blur(crop, origin=origin, window=Window(0, 0, 4, 4)),
    ]
    for use in uses:
        with pytest.raises(FrameMismatchError, match=r"^An origin must be two whole numbers"):
            use()
