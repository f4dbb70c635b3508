"""What napari's menu opens: the widget that a viewer has already, or else a new one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from napari.viewer import Viewer
from qtpy.QtWidgets import QDockWidget, QWidget

if TYPE_CHECKING:
    from napari_coordgate.widgets.panel import DockWidget

PLUGIN = "napari-coordgate"


class _Entry(QWidget):
    """Makes or finds the widget that ``path`` names, when napari calls the class.

    napari wants a class of widgets whose arguments it can read; none is made of this one.
    """

    path: ClassVar[str]

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()

    def __new__(cls, viewer: Viewer) -> Any:
        """Widget of this viewer, without the dock that it may have under another name."""
        widget = open_widget(viewer, cls.path)
        if isinstance(dock := widget.parentWidget(), QDockWidget):
            viewer.window.remove_dock_widget(dock)
        return widget


class CoordGate(_Entry):
    """From an image to a result that can be trusted."""

    path = "dock:CoordGateWidget"


class LensPSF(_Entry):
    """Describe or measure a lens."""

    path = "lens_psf:LensPSFWidget"


class Train(_Entry):
    """Train a model."""

    path = "train:TrainWidget"


class GatingMaps(_Entry):
    """See what a model learned."""

    path = "gating_maps:GatingMapsWidget"


class Deblur(_Entry):
    """Deblur images."""

    path = "deblur:DeblurWidget"


class Batch(_Entry):
    """Deblur a folder of images."""

    path = "batch:BatchWidget"


class Compare(_Entry):
    """Compare methods."""

    path = "compare:CompareWidget"


def open_widget(viewer: Viewer, path: str) -> "DockWidget":
    """The viewer's widget of the class that ``path`` names (module of this package, and class).

    Where it is new, its forms are as they were left.
    """
    from napari_coordgate.widgets.panel import Panel, widget_of
    from napari_coordgate.widgets.remembering import Memory

    module, _, name = path.partition(":")
    kind: type[DockWidget] = getattr(import_module(f"{__package__}.{module}"), name)
    widget = widget_of(viewer, kind)
    if isinstance(widget, Panel) and widget.memory is None:
        widget.memory = Memory(widget)
    return widget


def run_demo(viewer: Viewer) -> None:
    """Run the demonstration in a viewer."""
    import_module(f"{__package__}.demo").show_demo(viewer)
