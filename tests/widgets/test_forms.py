"""Forms that derive from settings: what goes in comes out, and what is wrong is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import Field
from qtpy.QtCore import QLocale, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.config import (
    LENS_PRESETS,
    PRESETS,
    Camera,
    CGMultiWienerConfig,
    DeblurSettings,
    GaussianLens,
    Lens,
    LensCalibration,
    PSFFieldConfig,
    RichardsonLucyConfig,
    Selection,
    Settings,
    TrainingConfig,
    UNetConfig,
    WienerConfig,
)
from napari_coordgate.widgets.forms import (
    ComboBox,
    SettingsForm,
    UnionForm,
    add_row,
    collapsible,
    form_rows,
)

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)


class Plain(Settings):
    """Settings of one type."""

    kind_of_network: Literal["plain", "residual"] = "plain"
    depth: int = Field(3, ge=1)


class Filters(Settings):
    """Settings of another type."""

    kind_of_network: Literal["filters"] = "filters"
    depth: int = Field(2, ge=1)
    side: int = Field(3, ge=2)


class Outer(Settings):
    """Settings of which one is of either type."""

    network: Plain | Filters = Plain()


EVERY = [
    Outer(),
    Outer(network=Plain(kind_of_network="residual", depth=7)),
    Outer(network=Filters(depth=5, side=4)),
    LENS,
    LENS.replace(calibration=LensCalibration(method="beads")),
    GaussianLens(),
    GaussianLens(pixel_size_um=0.1),
    PSFFieldConfig(),
    Camera(),
    Camera(photons=5000, read_noise=1.6),
    DeblurSettings(),
    DeblurSettings(tile=96),
    RichardsonLucyConfig(num_iter=30, discrepancy=True),
    RichardsonLucyConfig(total_variation=0.0),
    WienerConfig(psf="mean"),
    Selection(),
    Selection(channels="0,DAPI"),
    TrainingConfig(),
    TrainingConfig(learning_rate=1e-6, ema_decay=0.99987, validate_every=3, seed=2**31 - 1),
    *PRESETS.values(),
    *LENS_PRESETS.values(),
]


@pytest.mark.parametrize("given_settings", EVERY, ids=lambda s: type(s).__name__)
def test_a_form_returns_the_settings_that_it_shows(qtbot: QtBot, given_settings: Settings) -> None:
    form = SettingsForm(given_settings)
    qtbot.addWidget(form)
    assert form.settings == given_settings
    assert not form.problems


@pytest.mark.parametrize("given_settings", EVERY, ids=lambda s: type(s).__name__)
def test_a_form_can_show_other_settings(qtbot: QtBot, given_settings: Settings) -> None:
    form = SettingsForm(LENS if isinstance(given_settings, Lens) else type(given_settings)())
    qtbot.addWidget(form)
    form.set_settings(given_settings)
    assert form.settings == given_settings


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(1e-6, 1, allow_subnormal=False))
def test_small_and_large_numbers_keep_six_digits(qtbot: QtBot, rate: float) -> None:
    form = SettingsForm(TrainingConfig(), {"learning_rate"})
    qtbot.addWidget(form)
    form.editors["learning_rate"].boxes[0].setValue(rate)  # type: ignore[attr-defined]
    assert form.settings.learning_rate == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize("typed", ["0.325", "0,325", "0.325 µm"])
def test_a_number_is_read_with_a_point_or_comma_in_any_locale(qtbot: QtBot, typed: str) -> None:
    before = QLocale()
    QLocale.setDefault(QLocale("de_DE"))
    try:
        form = SettingsForm(LENS.replace(pixel_size_um=1.0), {"pixel_size_um"})
        qtbot.addWidget(form)
        box = form.editors["pixel_size_um"].boxes[0]  # type: ignore[attr-defined]
        box.selectAll()
        qtbot.keyClicks(box, typed)
        qtbot.keyClick(box, Qt.Key.Key_Return)
        assert form.settings == LENS
    finally:
        QLocale.setDefault(before)


def test_an_empty_line_is_none_and_its_placeholder_says_what_that_means(qtbot: QtBot) -> None:
    form = SettingsForm(Selection(channels="DAPI"))
    qtbot.addWidget(form)
    line = form.editors["channels"].widget.native  # type: ignore[attr-defined]
    line.clear()
    assert form.settings == Selection()
    assert line.placeholderText() == "all"


def test_settings_that_are_not_shown_keep_their_values(qtbot: QtBot) -> None:
    config = TrainingConfig(camera=Camera(photons=7), seed=5)
    form = SettingsForm(config, {"steps"})
    qtbot.addWidget(form)
    form.editors["steps"].set_value(77)
    assert form.settings == config.model_copy(update={"steps": 77})


def test_a_change_by_the_user_is_emitted_once_and_new_settings_are_not(qtbot: QtBot) -> None:
    form = SettingsForm(Camera())
    qtbot.addWidget(form)
    told = []
    form.changed.connect(lambda: told.append(form.settings))
    form.set_settings(Camera(photons=9))
    assert told == []
    form.editors["photons"].boxes[0].setValue(10)  # type: ignore[attr-defined]
    assert told == [Camera(photons=10)]


def test_a_rule_over_several_settings_marks_those_that_it_names(qtbot: QtBot) -> None:
    form = SettingsForm(LENS)
    qtbot.addWidget(form)
    form.editors["na"].set_value(1.2)
    assert form.settings is None
    assert "immersion medium" in form.problems["na"]
    assert "immersion medium" in form.editors["na"].toolTip()
    assert form.labels["na"].text().startswith("⚠")
    assert "wavelength_nm" not in form.problems
    form.editors["refractive_index"].set_value(1.33)
    assert form.settings == LENS.replace(na=1.2, refractive_index=1.33)
    assert form.labels["na"].text() == "NA"


def test_a_value_at_an_excluded_bound_is_marked_with_its_reason(qtbot: QtBot) -> None:
    form = SettingsForm(GaussianLens())
    qtbot.addWidget(form)
    form.editors["sigma_edge_px"].set_value(0)
    assert form.problems["sigma_edge_px"].startswith("Must be above 0")
    assert form.settings is None


def test_a_problem_in_a_section_is_reported_by_the_form(qtbot: QtBot) -> None:
    form = SettingsForm(TrainingConfig())
    qtbot.addWidget(form)
    form.sections["network"].editors["kernel_size"].set_value(4)
    assert form.settings is None
    assert "odd" in form.problems["network.kernel_size"]


def test_units_and_descriptions_of_the_model_are_shown(qtbot: QtBot) -> None:
    form = SettingsForm(LENS)
    qtbot.addWidget(form)
    assert form.editors["wavelength_nm"].boxes[0].suffix() == " nm"  # type: ignore[attr-defined]
    assert form.labels["field_curvature_um"].text() == "Field curvature"
    tooltip = form.editors["wavelength_nm"].toolTip()
    assert "wavelength" in tooltip
    assert "Allowed: above 100 and below 3000." in tooltip
    training = SettingsForm(TrainingConfig())
    qtbot.addWidget(training)
    assert not any("e+" in label.toolTip() for label in training.labels.values())


def test_a_type_choice_shows_only_the_settings_of_that_type(qtbot: QtBot) -> None:
    form = SettingsForm(Outer(network=Plain(depth=5)))
    qtbot.addWidget(form)
    section = form.sections["network"]
    assert isinstance(section, UnionForm)
    assert "side" not in section.editors
    changes: list[object] = []
    form.changed.connect(lambda: changes.append(form.settings))
    section.choice.set_value("filters")
    assert changes == [Outer(network=Filters(depth=5))]  # a shared setting keeps its value
    assert {"depth", "side"} <= section.editors.keys()
    section.editors["side"].set_value(6)
    assert form.settings == Outer(network=Filters(depth=5, side=6))
    section.choice.set_value("residual")
    assert form.settings == Outer(network=Plain(kind_of_network="residual", depth=5))


def test_the_wheel_over_an_editor_without_focus_changes_nothing(qtbot: QtBot) -> None:
    form = SettingsForm(TrainingConfig(), {"steps", "schedule"})
    qtbot.addWidget(form)
    for part in (form.editors["steps"].boxes[0], form.editors["schedule"].widget.native):  # type: ignore[attr-defined]
        position = QPointF(3, 3)
        wheel = QWheelEvent(
            position,
            position,
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(part, wheel)
    assert form.settings == TrainingConfig()
    box = ComboBox()  # of the other rows: also after a click, when it has the focus
    qtbot.addWidget(box)
    box.addItems(["a", "b"])
    box.show()
    box.setFocus()
    QApplication.sendEvent(box, wheel)
    assert box.currentText() == "a"


def test_names_that_differ_at_their_ends_look_different(qtbot: QtBot) -> None:
    box = ComboBox()
    qtbot.addWidget(box)
    box.addItems([f"nuclei behind the demo lens {end}" for end in ("a", "deblurred")])
    box.setFixedWidth(150)
    box.show()
    before = box.grab().toImage()
    box.setCurrentIndex(1)
    assert box.grab().toImage() != before


def test_tab_passes_a_folded_section(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    layout = QVBoxLayout(window)
    first, inside, last = (QPushButton(name) for name in ("first", "inside", "last"))
    section = collapsible("More", inside)
    for part in (first, section, last):
        layout.addWidget(part)
    window.show()
    qtbot.waitExposed(window)
    header = section.toggleButton()
    for folded in (True, False, True):
        (section.collapse if folded else section.expand)(animate=False)
        first.setFocus()
        seen = []
        for _ in range(3):
            window.focusNextPrevChild(True)
            seen.append(window.focusWidget())
        assert (inside in seen) != folded
        assert inside.isVisible() != folded
        assert header in seen


def test_another_architecture_has_its_own_settings(qtbot: QtBot) -> None:
    form = SettingsForm(TrainingConfig())
    qtbot.addWidget(form)
    network = form.sections["network"]
    assert isinstance(network, UnionForm)
    network.editors["depth"].set_value(2)
    with qtbot.waitSignal(form.changed):
        network.choice.set_value("unet")
    assert "gate_output" not in network.editors
    assert form.settings == TrainingConfig(network=UNetConfig(depth=2))
    form.set_settings(TrainingConfig(network=CGMultiWienerConfig(wiener_side=5)))
    assert network.choice.value() == "cg-multi-wiener"
    assert form.settings == TrainingConfig(network=CGMultiWienerConfig(wiener_side=5))


def test_an_unfolded_section_has_room_for_rows_of_two_lines(qtbot: QtBot) -> None:
    holder, content, rows = QWidget(), QWidget(), form_rows()
    qtbot.addWidget(holder)
    content.setLayout(rows)
    boxes = [QLineEdit() for _ in range(4)]
    for box in boxes:
        add_row(rows, "A label that leaves no room", box)
    layout, section = QVBoxLayout(holder), collapsible("Measure", content)
    layout.addWidget(section)
    layout.addStretch(1)
    holder.resize(220, 500)
    holder.show()
    section.expand(animate=False)
    qtbot.waitUntil(lambda: content.height() >= rows.heightForWidth(content.width()))
    assert all(box.height() >= box.minimumSizeHint().height() for box in boxes)
