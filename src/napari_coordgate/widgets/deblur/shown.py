"""A deblurred image as a layer, which fills while the work goes on."""

from typing import Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.events import Event, Finished, PlaneDone
from napari_coordgate.version import __version__
from napari_coordgate.widgets.deblur.request import DeblurRequest
from napari_coordgate.widgets.layers.images import plane_on_view
from napari_coordgate.widgets.layers.live import LiveLayer
from napari_coordgate.widgets.layers.places import look_of, place_of
from napari_coordgate.widgets.layers.provenance import DEBLURRED, metadata

__all__ = ["DeblurredLayer", "PlaneOnView"]


class PlaneOnView:
    """The plane of a layer that is looked at; asked for by the background thread.

    The main thread takes note of it here as it changes, so that the background thread
    reads a plain tuple and no part of the viewer. Where the layer is gone, the last
    plane stays.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    layer : Image layer
        The layer.
    """

    def __init__(self, viewer: Viewer, layer: ImageLayer) -> None:
        self.viewer, self.layer = viewer, layer
        self._note()
        viewer.dims.events.point.connect(self._note)

    def __call__(self) -> tuple[int, ...]:
        """Index over all axes but height and width."""
        return self.place

    def _note(self, _: object = None) -> None:
        if self.layer in self.viewer.layers:
            samples = (0,) if self.layer.rgb else ()
            self.place = (*plane_on_view(self.viewer, self.layer), *samples)


class DeblurredLayer:
    """The result of one job, beside the layer that it was made of.

    It looks and lies like that layer, and says in its metadata how it was made. What
    is not deblurred yet is dark.

    Parameters
    ----------
    viewer : Viewer
        Where it is shown.
    blurred : Image layer
        The layer that is deblurred; it may be gone by the time the result comes.
    request : DeblurRequest
        What was asked for.
    network : str
        Name of the checkpoint.
    """

    def __init__(
        self, viewer: Viewer, blurred: ImageLayer, request: DeblurRequest, network: str
    ) -> None:
        self.layer = LiveLayer(viewer)
        self.request = request
        self.options: dict[str, Any] = {
            **place_of(blurred),
            **look_of(blurred),
            "name": f"{blurred.name} deblurred",
            "rgb": blurred.rgb,
            "metadata": metadata(DEBLURRED, **_how(blurred, request, network)),
        }

    def show(self, event: Event) -> None:
        """Show what there is after an event of the job."""
        if isinstance(event, PlaneDone) and self.layer.layer is None:
            self.layer.show(self.request.out, **self.options)
        elif isinstance(event, PlaneDone | Finished) and self.layer.layer is not None:
            self.layer.layer.refresh()
            if isinstance(event, Finished) and event.reason != "completed":
                self.layer.layer.name += " (unfinished)"


def _how(blurred: ImageLayer, request: DeblurRequest, network: str) -> dict[str, Any]:
    checkpoint = request.checkpoint
    return {
        "image": blurred.name,
        "axes": request.image.axes,
        "window": tuple(request.placement.window),
        "network": network,
        "network_settings": checkpoint.config.network.model_dump(mode="json"),
        "network_step": checkpoint.step,
        "network_metrics": dict(checkpoint.metrics),
        "settings": request.config.model_dump(mode="json"),
        "version": __version__,
    }
