"""One click that adapts the universal model to the lens in use, in a real window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import AdaptConfig, UniversalTrainingConfig
from napari_coordgate.inference import deblur
from napari_coordgate.networks import UnrolledNetwork
from napari_coordgate.optics import PSFField
from napari_coordgate.training import AdaptationGain, adaptation
from napari_coordgate.universal_model import UniversalModel
from napari_coordgate.widgets.adaptation import Adaptation
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.layers import provenance
from napari_coordgate.widgets.session import session_of
from tests.widgets.acting import WAIT_MS, choose, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of new models; measurements on few images."""
    from napari_coordgate.widgets.preferences import Preferences

    preferences = Preferences(model_folder=tmp_path)
    monkeypatch.setattr("napari_coordgate.widgets.adaptation.load_preferences", lambda: preferences)
    monkeypatch.setattr(
        adaptation.adaptation_gain_events, "__kwdefaults__", {"samples": 2, "cancel": None}
    )
    return tmp_path


@pytest.fixture
def widget(viewer: Viewer, psf_field: PSFField, folder: Path) -> DeblurWidget:
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    session_of(viewer).psf_fields["my lens"] = psf_field
    widget.adaptation.form.set_settings(AdaptConfig(steps=2, batch_size=1))
    return widget


def adaptation_of(gain_db: float, path: Path) -> Adaptation:
    network = UniversalTrainingConfig()
    model = UniversalModel(network, UnrolledNetwork(network.network).state_dict())
    before = np.linspace(30, 40, 4)
    gain = AdaptationGain(before, before + gain_db + np.array([0, 0.01, 0, 0.01]))
    return Adaptation(model, path, "my lens", gain, "shipped images")


def test_a_click_adapts_saves_and_offers_the_model(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, folder: Path, sharp: NDArray[np.uint8]
) -> None:
    (folder / "universal-my-lens.safetensors").write_text("another file")
    click(widget.adaptation.button)
    assert not widget.adaptation.button.isEnabled()
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed", end.message
    assert (folder / "universal-my-lens.safetensors").read_text() == "another file"
    path = folder / "universal-my-lens-2.safetensors"
    adapted = UniversalModel.load(path)
    facts = adapted.card["adapted"]
    assert (facts["lens"], facts["steps"], facts["images"]) == ("my lens", 2, 2)
    assert "universal-my-lens-2" in session_of(viewer).universal_models
    assert widget.adaptation.button.isEnabled()
    assert "dB before" in widget.bar.message.text()


def test_a_better_model_is_chosen_and_deblurs(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    tmp_path: Path,
    psf_field: PSFField,
    sharp: NDArray[np.uint8],
) -> None:
    better = adaptation_of(0.4, tmp_path / "better.safetensors")
    better.model.save(better.path)
    session_of(viewer).add(better.model, better.path)
    widget.adaptation.choose(better)
    assert widget.method.universal.name == "better"
    assert "5 % smaller" in str(better)
    blurred = psf_field.blur(sharp[0].astype(np.float32))
    viewer.add_image(blurred, name="cells")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["cells deblurred"]
    expected = deblur(blurred, better.path, psf_field=psf_field)
    np.testing.assert_array_equal(result.data, expected)
    weights = provenance(result.metadata)["settings"]["deconvolution"]["weights"]
    assert Path(weights) == better.path


def test_a_model_that_is_not_better_is_said_so_and_not_chosen(
    viewer: Viewer, widget: DeblurWidget, tmp_path: Path
) -> None:
    worse = adaptation_of(-0.1, tmp_path / "worse.safetensors")
    session_of(viewer).add(worse.model, worse.path)
    widget.adaptation.choose(worse)
    assert widget.method.weights is None
    assert "not better" in str(worse)


def test_a_canceled_adaptation_writes_nothing(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, folder: Path
) -> None:
    widget.adaptation.form.set_settings(AdaptConfig(steps=1000, batch_size=1))
    click(widget.adaptation.button)
    qtbot.waitUntil(lambda: "left" in widget.bar.bar.format(), timeout=WAIT_MS)
    assert "training" in widget.bar.bar.format()
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    assert not list(folder.glob("*.safetensors"))
    assert widget.adaptation.button.isEnabled()


def test_own_sharp_images_are_trained_on_but_for_a_part(
    viewer: Viewer, widget: DeblurWidget, sharp: NDArray[np.uint8]
) -> None:
    viewer.add_image(sharp, name="own")
    widget.adaptation.sharp.set_value(viewer.layers["own"])
    request = widget.adaptation.request()
    trained_on, held_out, where = request.images()
    assert (len(trained_on), len(held_out)) == (4, 2)
    assert "your images" in where
    viewer.layers["own"].data = sharp[0]
    trained_on, held_out, _ = widget.adaptation.request().images()
    assert (trained_on[0].shape, held_out[0].shape) == ((38, 48), (10, 48))


def test_only_the_universal_network_with_a_lens_is_adapted(
    viewer: Viewer, widget: DeblurWidget
) -> None:
    button = widget.adaptation.button
    assert button.isVisible() and button.isEnabled()
    choose(widget.method.box, "Wiener")
    assert not button.isVisible()
    choose(widget.method.box, "Universal network")
    session_of(viewer).psf_fields.clear()
    assert not button.isEnabled()
    assert "PSF field" in button.toolTip()


def test_universal_weights_are_loaded_from_their_file_and_chosen(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = adaptation_of(0, tmp_path / "own.safetensors")
    own.model.save(own.path)
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getOpenFileName",
        lambda *_: (str(own.path), ""),
    )
    choose(widget.method.box, "Universal network")
    click(widget.method.universal.button)
    qtbot.waitUntil(lambda: widget.method.universal.name == "own", timeout=WAIT_MS)
    assert widget.method.settings()["deconvolution"].weights == own.path
    widget.method.set_settings(widget.form.settings.replace(**widget.method.settings()))
    assert widget.method.weights == own.path
