"""Laws of settings: frozen, finite, strict, and the same after a round trip through YAML."""

import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from napari_coordgate import config
from napari_coordgate.config import (
    LENS_PRESETS,
    PRESET_DESCRIPTIONS,
    PRESETS,
    Architecture,
    BatchConfig,
    BatchRuntime,
    Camera,
    CGUNetConfig,
    ComparisonConfig,
    ComparisonFile,
    ComparisonSettings,
    DeblurRuntime,
    GaussianLens,
    Lens,
    LensCalibration,
    ModelMethod,
    NetworkConfig,
    NetworkMethod,
    PackageConfig,
    PresetName,
    RichardsonLucyMethod,
    RuntimeConfig,
    Scaling,
    Settings,
    TrainingConfig,
    TrainingSettings,
    UNetConfig,
    UniversalMethod,
    UnrolledMethod,
    WienerConfig,
    WienerMethod,
    load_lens,
    load_settings,
    network_config,
)
from napari_coordgate.config.base import nested_fields
from napari_coordgate.errors import SettingsError
from napari_coordgate.networks import UNet, build_network
from napari_coordgate.optics import PSFField

MODELS = [
    model
    for model in vars(config).values()
    if isinstance(model, type) and issubclass(model, Settings) and model is not Settings
]
METHODS: dict[type[Settings], dict[str, Any]] = {
    NetworkMethod: {"name": "CG U-Net", "network": {}},
    ModelMethod: {"name": "starter", "model": "starter.safetensors"},
    WienerMethod: {"name": "Wiener", "wiener": {}},
    RichardsonLucyMethod: {"name": "RL", "richardson_lucy": {}},
    UniversalMethod: {"name": "universal", "universal": {}},
    UnrolledMethod: {"name": "CG-RL", "unrolled": {}},
}
OPTICS = {"na": 0.5, "wavelength_nm": 520, "pixel_size_um": 0.325}
OPTICS_TEXT = yaml.safe_dump(OPTICS)
REQUIRED: dict[type[Settings], dict[str, Any]] = {
    **METHODS,
    Lens: OPTICS,
    LensCalibration: {"method": "beads"},
    PackageConfig: {"author": "A. B.", "license": "CC0-1.0"},
    ComparisonFile: {"methods": (*METHODS.values(),), "images": "sharp", "psf": "lens.psf.tif"},
}
"""Values of the settings without defaults."""


def plain(model: type[Settings]) -> Settings:
    """Settings with all defaults that there are."""
    return model.model_validate(REQUIRED.get(model, {}))


FLOATS = [
    (model, name)
    for model in MODELS
    for name, value in plain(model).model_dump().items()
    if isinstance(value, float)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def complaint(model: type[Settings], file: Path, text: str) -> str:
    """The error of a file of settings, known to be one line that names the file."""
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(model, file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("model", MODELS)
def test_every_default_survives_a_file(model: type[Settings], file: Path) -> None:
    settings = plain(model)
    file.write_text(settings.to_yaml())
    assert load_settings(model, file) == settings
    written = yaml.safe_load(file.read_text()).keys()
    assert written | {"calibration"} == model.model_fields.keys() | {"calibration"}


@pytest.mark.parametrize("model", MODELS)
def test_settings_are_frozen_and_described(model: type[Settings]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        with pytest.raises(SettingsError, match=rf"replace\({name}=\.\.\.\)"):
            setattr(plain(model), name, getattr(plain(model), name))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps: " + "[" * 2000 + "]" * 2000, "deeply nested"),
        (
            "0: &a0 [x,x]\n" + "".join(f"{n}: &a{n} [*a{n - 1},*a{n - 1}]\n" for n in range(1, 40)),
            "many",
        ),
        ("steps: 1" + ":59" * 10**5, "too many digits"),
        ("steps: " + "9" * 10**5, "too many digits"),
    ],
)
def test_what_a_few_bytes_of_yaml_expand_to_is_refused(file: Path, text: str, problem: str) -> None:
    assert problem in complaint(TrainingConfig, file, text)


def test_replaced_values_are_validated() -> None:
    config = TrainingConfig(steps=20)
    assert config.replace(batch_size=2) == TrainingConfig(steps=20, batch_size=2)
    assert config.steps == config.replace().steps == 20
    with pytest.raises(SettingsError, match="steps: must be"):
        config.replace(steps=-1)


def test_settings_are_shown_by_what_differs_from_the_defaults() -> None:
    assert repr(TrainingConfig()) == str(TrainingConfig()) == "TrainingConfig()"
    config = TrainingConfig(steps=20, network=UNetConfig(depth=2))
    assert repr(config) == "TrainingConfig(steps=20, network=UNetConfig(depth=2))"


def test_an_architecture_is_given_by_its_name() -> None:
    assert TrainingConfig(network="unet").network == UNetConfig()
    assert isinstance(build_network("unet"), UNet)
    for wrong, message in {
        "unett": "must be one of cg-unet, unet, .*'unett'",
        5: "not int",
    }.items():
        given: Any = wrong
        for build in (lambda g: TrainingConfig(network=g), build_network):
            with pytest.raises(SettingsError, match=message) as error:
                build(given)
            assert "tag" not in str(error.value)


def test_a_method_of_another_class_is_an_error() -> None:
    methods: Any = [UNetConfig()]
    with pytest.raises(SettingsError, match="must be settings of a method"):
        ComparisonFile(methods=methods, images=Path("i"), psf=Path("p"))


@pytest.mark.parametrize("model", MODELS)
def test_an_unknown_key_is_named(model: type[Settings], file: Path) -> None:
    assert "unknown setting 'color'" in complaint(model, file, "color: blue")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("model", "name"), FLOATS)
def test_numbers_are_finite(model: type[Settings], name: str, number: float) -> None:
    with pytest.raises(ValidationError):
        model.model_validate({**REQUIRED.get(model, {}), name: number})


def test_numbers_in_pairs_are_finite() -> None:
    for name in ("tilt_um", "axis"):
        with pytest.raises(ValidationError):
            Lens.model_validate(OPTICS | {name: (0.0, math.nan)})


def test_changed_and_nested_settings_survive_a_file(file: Path) -> None:
    settings = TrainingConfig(
        network=UNetConfig(depth=5, residual=False),
        camera=Camera(photons=1e-3, read_noise=2.5),
        scaling=Scaling(low_percentile=0, high_percentile=100),
        epochs=7,
        learning_rate=1e-05,
    )
    file.write_text(settings.to_yaml())
    assert load_settings(TrainingConfig, file) == settings


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (OPTICS_TEXT, Lens),
        ("sigma_center_px: 1\nsigma_edge_px: 3", GaussianLens),
        ("kind: gaussian\nsigma_center_px: 1\nsigma_edge_px: 3", GaussianLens),
        (f"kind: pupil\n{OPTICS_TEXT}", Lens),
        (Lens(**OPTICS, coma_waves=0.5, axis=(0.1, -0.2)).to_yaml(), Lens),
        (GaussianLens(sigma_center_px=1.5).to_yaml(), GaussianLens),
    ],
)
def test_a_lens_file_implies_the_kind_of_lens(text: str, kind: type[Settings], file: Path) -> None:
    file.write_text(text)
    lens = load_lens(file)
    assert type(lens) is kind
    assert lens == kind.model_validate(yaml.safe_load(text))


def test_a_lens_without_a_curvature_has_none(file: Path) -> None:
    file.write_text(OPTICS_TEXT)
    lens = load_lens(file)
    assert isinstance(lens, Lens)
    assert lens.field_curvature_um == 0
    assert lens.calibration is None
    assert "calibration" not in lens.model_dump()


@pytest.mark.parametrize("quote", ["", "'"])
def test_how_a_lens_was_measured_survives_a_file(file: Path, quote: str) -> None:
    calibration = LensCalibration(
        method="beads",
        standard_errors={"field_curvature_um": 0.2, "tilt_um.y": 0.5},
        date="2025-03-31",
        objective="Plan Apo 20x",
        notes=("One plane does not tell the sign of the defocus.",),
    )
    lens = Lens(**OPTICS, calibration=calibration)
    file.write_text(lens.to_yaml().replace("'2025-03-31'", f"{quote}2025-03-31{quote}"))
    assert load_lens(file) == lens


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("na: fast", "na: .*number.*'fast'"),
        ("na: 0.5\nsigma_edge_px: 2", "either the aperture .* or the width .*, not both"),
        ("kind: pupil\nsigma_edge_px: 2", "unknown setting 'sigma_edge_px'$"),
        ("wavelenght_nm: 520", "unknown setting 'wavelenght_nm'; did you mean 'wavelength_nm'"),
        ("na: 0,5", r"na: must be a number \(given: '0,5'; write a decimal point\)"),
        ("kind: mirror", "mirror"),
        ("1: 2", "1: "),
        (
            f"{OPTICS_TEXT}\nna: 1.4\nrefractive_index: 1.33",
            "na 1.4 must be below refractive_index 1.33",
        ),
        (f"{OPTICS_TEXT}\nna: 1.0", "set the refractive_index"),
        ("axis: [0.1]", "axis"),
        (
            "field_curvature_um: 8",
            "without NA: .* sigma_edge_px.*; .* wavelength_nm, .* pixel_size",
        ),
        ("na: 0.5\nwavelength_nm: 520", "yaml: a lens without pixel size: give pixel_size_um"),
        ("sigma_edge_px: 3", "sigma_center_px"),
        ("sigma_center_px: 3", "sigma_edge_px"),
    ],
)
def test_an_invalid_lens_file_is_reported_in_one_line(text: str, problem: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=problem) as caught:
        load_lens(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "contains no settings"),
        ("- 1\n- 2", "contains no settings"),
        ("steps", "contains no settings"),
        ("steps: [1", "not valid YAML"),
        ("steps: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("steps: 2024-13-45", "not valid YAML"),
        ("steps: 0", "steps: must be at least 1.*given: 0"),
        ("steps: many\nseed: -1", "seed: .*; steps: "),
        ("network: {depth: 9}", r"network\.depth: must be at most 6 .*given: 9"),
        ("network: {dept: 2}", r"unknown setting 'network\.dept'; did you mean 'network\.depth'"),
        ("steps: 2.5", "steps: must be a whole number"),
        ("device: gpu", "device: must be one of auto, cpu, cuda, mps .*'gpu'"),
        ("network: {kernel_size: 4}", "network: kernel_size must be odd"),
        ("camera: {read_noise: 3}", "camera: .*photon"),
        ("scaling: {low_percentile: 99.9}", "scaling: low_percentile must be below"),
    ],
)
def test_an_invalid_settings_file_is_reported_in_one_line(
    text: str, problem: str, file: Path
) -> None:
    message = complaint(TrainingSettings, file, text)
    with pytest.raises(SettingsError, match=problem):
        raise SettingsError(message)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    for name, problem in [
        ("absent.yaml", "no such file"),
        ("binary.yaml", "cannot be read"),
        ("", "cannot be read"),
    ]:
        with pytest.raises(SettingsError, match=problem) as caught:
            load_settings(TrainingConfig, tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def laughing(first: str, form: str) -> str:
    """Text of few lines in which aliases of aliases stand for billions of values."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {form % ', '.join([f'*a{n - 1}'] * 9)}" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (laughing("[lol]", "[%s]"), "too many or too deeply"),
        (laughing("{na: 1}", "{<<: [%s]}"), "too many or too deeply"),
        ("[" * 100_000, "too many or too deeply"),
        ("steps: " + "[" * 100_000, "too many or too deeply"),
        ("seed: [" + "1," * 20_000 + "1]", "too many or too deeply"),
        ("x" * 2_000_000, "too large"),
        ("\n".join(f"x{number}: 1" for number in range(3000)), "and 2980 more"),
        ("steps: " + "x" * 100_000, "must be a whole number"),
        ("x" * 1000 + ": 1", "unknown setting"),
    ],
)
def test_a_file_made_to_do_harm_is_refused_in_a_line_of_some_length(
    text: str, problem: str, file: Path
) -> None:
    message = complaint(TrainingConfig, file, text)
    assert problem in message
    assert len(message) < 5000


def test_a_yaml_alias_has_the_value_of_its_anchor(file: Path) -> None:
    file.write_text("network: &one {depth: 2}\n")
    assert load_settings(TrainingConfig, file).network == CGUNetConfig(depth=2)
    file.write_text("steps: &one 30\nseed: *one\n")
    assert load_settings(TrainingConfig, file).seed == 30


NAMES = [*TrainingConfig.model_fields, *nested_fields(NetworkConfig), *Lens.model_fields]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    PLAIN,
    lambda value: (
        st.lists(value, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | PLAIN, value, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(NAMES) | PLAIN, VALUES, max_size=4))
def test_any_values_are_settings_or_are_refused_in_one_line(
    file: Path, content: dict[Any, Any]
) -> None:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    for load in (partial(load_settings, TrainingConfig), load_lens):
        try:
            load(file)
        except SettingsError as error:
            assert str(error).startswith(f"{file}: ")
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("depth", range(1, 7))
def test_channels_double_and_windows_snap_to_the_coarsest_pixel(depth: int) -> None:
    network = CGUNetConfig(depth=depth)
    assert network.channels == (32, 64, 128, 256, 512, 1024)[:depth]
    assert network.multiple == 2 ** (depth - 1)


def test_the_protocol_of_the_paper_can_be_changed_and_nothing_else_invented() -> None:
    paper = TrainingConfig.paper(epochs=3)
    assert (paper.schedule, paper.sampling, paper.epochs) == ("plateau", "frame", 3)
    with pytest.raises(SettingsError, match="momentum"):
        TrainingConfig.paper(momentum=0.9)


def setting_names(kind: type[Settings]) -> set[str]:
    """Names of all settings of a class, and of the classes nested in it."""
    names = set(kind.model_fields)
    for field in kind.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            names |= setting_names(field.annotation)
    return names


@pytest.mark.parametrize("recipe", [TrainingConfig, BatchConfig, ComparisonConfig])
@pytest.mark.parametrize("runtime", [RuntimeConfig, DeblurRuntime, BatchRuntime])
def test_no_recipe_which_fingerprints_hash_holds_a_runtime_setting(
    recipe: type[Settings], runtime: type[Settings]
) -> None:
    assert setting_names(recipe).isdisjoint(runtime.model_fields)


def test_settings_split_into_recipe_and_runtime_and_combine_again() -> None:
    settings = TrainingSettings(steps=3, workers=2, camera=Camera(photons=100))
    recipe, runtime = settings.select(TrainingConfig), settings.select(RuntimeConfig)
    assert recipe == TrainingConfig(steps=3, camera=Camera(photons=100))
    assert recipe.model_fields_set == {"steps", "camera"}
    assert runtime == RuntimeConfig(workers=2)
    assert TrainingSettings.combine(recipe, runtime) == settings


def test_a_file_may_hold_the_former_name_of_a_setting(file: Path) -> None:
    file.write_text("iterations: 7\nregularisation: 0.1\n")
    with pytest.warns(FutureWarning, match="num_iter|regularization"):
        loaded = load_settings(WienerConfig, file)
    assert loaded == WienerConfig(num_iter=7, regularization=0.1)


def test_a_comparison_file_may_hold_the_runtime_among_the_training_settings() -> None:
    old = ComparisonSettings.model_validate({"training": {"steps": 3, "device": "cpu"}})
    assert (old.training, old.device) == (TrainingConfig(steps=3), "cpu")


def test_wrong_settings_in_python_are_an_error_for_users_with_advice() -> None:
    with pytest.raises(SettingsError, match="'stepz'; did you mean 'steps'"):
        TrainingConfig(stepz=3)  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match=r"network\.depth: must be at most 6"):
        TrainingConfig(network={"depth": 7})


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_network_has_the_settings_of_its_architecture(architecture: str) -> None:
    network = TrainingConfig.model_validate({"network": {"architecture": architecture}}).network
    assert network.architecture == architecture
    assert network == network_config(architecture=architecture)
    assert TrainingConfig.model_validate({"network": network.model_dump()}).network == network


def test_defaults_of_other_architectures_are_dropped_and_other_settings_refused() -> None:
    every = {name: field.default for name, field in nested_fields(NetworkConfig).items()}
    assert network_config(**every | {"architecture": "unet"}) == UNetConfig()
    with pytest.raises(ValidationError, match="architecture unet has no setting wiener_side"):
        network_config(architecture="unet", wiener_side=5)
    with pytest.raises(SettingsError, match="architecture must be one of cg-unet, unet"):
        TrainingConfig(network={"architecture": "x"})


def test_a_settings_class_documents_its_fields() -> None:
    text = inspect.getdoc(RuntimeConfig) or ""
    for name, field in RuntimeConfig.model_fields.items():
        assert f"\n{name} : " in text
        assert " ".join(str(field.description).split()) in " ".join(text.split())


def test_every_preset_has_a_name_and_a_line_of_its_own() -> None:
    assert list(PRESETS) == list(PRESET_DESCRIPTIONS) == list(get_args(PresetName))
    for text in PRESET_DESCRIPTIONS.values():
        assert len(text.splitlines()) == 1


def test_presets_go_from_a_first_look_to_the_paper_and_the_balanced_one_is_the_defaults() -> None:
    assert PRESETS["balanced"] == TrainingConfig()
    assert PRESETS["paper"] == TrainingConfig.paper()
    steps = [PRESETS[name].steps for name in ("quick", "balanced", "thorough")]
    assert steps == sorted(set(steps))
    # The rest is alike, and stays out of the way of a file or a checkpoint.
    assert all(PRESETS[name].model_fields_set <= {"steps"} for name in ("quick", "thorough"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_a_file(name: str, file: Path) -> None:
    file.write_text(PRESETS[name].to_yaml())
    assert load_settings(TrainingConfig, file) == PRESETS[name]


@pytest.mark.parametrize("name", LENS_PRESETS)
def test_a_lens_to_start_from_survives_a_file_and_blurs_a_common_frame(
    name: str, file: Path
) -> None:
    file.write_text(LENS_PRESETS[name].to_yaml())
    assert load_lens(file) == LENS_PRESETS[name]
    field = PSFField.from_lens(LENS_PRESETS[name], (512, 512))
    center, corner = field.psf_at(255, 255), field.psf_at(0, 0)
    assert corner.max() < center.max() / 3


def test_no_mutable_default_is_shared() -> None:
    def hashable(value: Any) -> bool:
        return isinstance(hash(value), int)

    assert all(hashable(field.default) for model in MODELS for field in model.model_fields.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name: A, network: {}, wiener: {}}", "'A' has network and wiener"),
        ("{name: A, wienr: {}}", "'A' has wienr"),
        (
            "{name: A}",
            "methods.0: a method needs one of network, model, wiener, ",
        ),
        ("{wiener: {}}", "methods.0.name: "),
        ("{name: A, wiener: {num_iter: -1}}", "methods.0.wiener.num_iter: "),
        ("A", "methods.0: "),
    ],
)
def test_a_method_is_of_one_kind(text: str, problem: str, file: Path) -> None:
    assert problem in complaint(ComparisonFile, file, f"methods: [{text}]\nimages: a\npsf: b")


def test_methods_of_older_files_load(file: Path) -> None:
    file.write_text(
        "{images: a, psf: b, methods: [{name: A, checkpoint: a.safetensors, wiener: null}]}"
    )
    with pytest.warns(FutureWarning, match="now called 'model'"):
        settings = load_settings(ComparisonFile, file)
    assert settings.methods == (ModelMethod(name="A", model=Path("a.safetensors")),)


@pytest.mark.parametrize(
    "text",
    [
        "na: !!int ''",
        "na: !!bool x",
        "na: !!timestamp x",
        "na: 1" + 200 * ":1" + ".0",  # beyond the largest float
        "na: 1" + 100_000 * ":1",  # minutes
        "? [na]\n: 1",
    ],
)
def test_yaml_that_its_library_stumbles_over_is_refused_in_one_line(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "lens.yaml").write_text(text)
    with pytest.raises(SettingsError, match="not valid YAML") as caught:
        load_lens(tmp_path / "lens.yaml")
    assert len(str(caught.value).splitlines()) == 1
