"""The demonstration in a window: blurred nuclei, deblurred, and all widgets beside them.

Run: ``python -m napari_coordgate.widgets.demo``, or ``napari-coordgate demo``.
"""

import napari
from napari.viewer import Viewer

from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.widgets.contributions import nuclei_blurred
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.jobs import JobEnd
from napari_coordgate.widgets.lens_psf import LensPSFWidget

PLUGIN = "napari-coordgate"
OTHERS = ("Lens PSF", "Train", "Gating maps", "Batch deblur", "Compare")


def show_demo(viewer: Viewer) -> DeblurWidget:
    """Fill an empty viewer with the demonstration; deblurring runs in the background."""
    for pixels, options, _ in nuclei_blurred():
        viewer.add_image(pixels, **options)
    for name in OTHERS:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        if isinstance(widget, LensPSFWidget):
            widget.show_blurred.setChecked(False)  # this image is blurred already
            widget.show_psfs.setChecked(False)
    _, deblur = viewer.window.add_plugin_dock_widget(PLUGIN, "Deblur", tabify=True)
    assert isinstance(deblur, DeblurWidget)

    def start(end: JobEnd[object]) -> None:
        if end.reason == "completed":
            deblur.run()

    starter = sample_data_folder() / "starter.safetensors"
    deblur.session.load_model(starter).finished.connect(start)
    return deblur


def main() -> None:
    """Open napari with the demonstration, and stay until it is closed."""
    viewer = napari.Viewer(title="napari-coordgate")
    show_demo(viewer)
    napari.run()


if __name__ == "__main__":
    main()
