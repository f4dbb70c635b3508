"""The results of a comparison as layers, one for each method."""

from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_coordgate.config import Settings
from napari_coordgate.version import __version__
from napari_coordgate.widgets.compare.request import CompareRequest
from napari_coordgate.widgets.layers.places import look_of, place_of
from napari_coordgate.widgets.layers.provenance import BLURRED, DEBLURRED, metadata

if TYPE_CHECKING:
    from napari_coordgate.comparison import Row

__all__ = ["ShownComparison"]

FONT_SIZE = 6.5
"""Of names over pictures: a dozen of these may share the canvas."""


class ShownComparison:
    """What a comparison has brought so far: rows of its table, and their layers.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are shown.
    source : Image layer
        The image that is compared on; it may be gone by the time results come.
    request : CompareRequest
        What was asked for.
    field_name : str
        What the PSF field is called.
    before : ShownComparison, optional
        The comparison whose place it takes: its layers are hidden, and the view stays.

    Attributes
    ----------
    rows : list of Row
        In the order in which they ended.
    layers : list of Image layer or None
        The layer of each row; none where a method failed.
    fitted_view : tuple or None
        Zoom and center of the camera as they were last fitted to the results.
    """

    def __init__(
        self,
        viewer: Viewer,
        source: ImageLayer,
        request: CompareRequest,
        field_name: str,
        before: "ShownComparison | None" = None,
    ) -> None:
        self.viewer, self.source, self.request = viewer, source, request
        self.name = source.name
        self.rows: list[Row] = []
        self.layers: list[ImageLayer | None] = []
        self.fitted_view: tuple[float, tuple[float, ...]] | None = None
        if before is not None:
            before.set_visible(False)
            self.fitted_view = before.fitted_view
        self._options = {**place_of(source, 2), **look_of(source)}
        self._facts: dict[str, Any] = {
            "image": source.name,
            "plane": request.plane.place,
            "psf_field": field_name,
            "camera": request.camera.model_dump(mode="json"),
            "simulated": request.is_sharp,
            "version": __version__,
        }

    @property
    def most_rows(self) -> int:
        """Rows of the table at the end; with that of the blurred image, if it is measured."""
        return len(self.request.methods) + self.truth_is_known

    @property
    def truth_is_known(self) -> bool:
        """Whether results can be measured, rather than looked at alone."""
        return self.request.is_sharp or self.request.truth is not None

    def show(self, event: object) -> None:
        """Show what there is after an event of the job."""
        # The job has brought in torch by now.
        from napari_coordgate.comparison.on_image import MethodDone, Scene

        if isinstance(event, Scene):
            corner = self._options["scale"] * event.origin
            self._options["translate"] = self._options["translate"] + corner
        elif isinstance(event, MethodDone):
            self.rows.append(event.row)
            self.layers.append(self._layer(event.row, event.restored))
            self.fit_view()

    def fit_view(self, *, anew: bool = False) -> None:
        """Let whole images be seen side by side, unless their user has moved the view since."""
        camera = self.viewer.scene.camera
        untouched = anew or self.fitted_view in (None, (camera.zoom, camera.center))
        if self.viewer.canvas.grid.enabled and untouched:
            self.viewer.reset_view()
            self.fitted_view = camera.zoom, camera.center

    def reveal(self, number: int) -> None:
        """Select the layer of a row, and make sure that it is seen."""
        layer = self.layers[number]
        if layer is None or layer not in self.viewer.layers:
            return
        if not self.viewer.canvas.grid.enabled:  # they lie over each other
            self.set_visible(False)
        layer.visible = True
        self.viewer.layers.selection.active = layer

    def set_visible(self, visible: bool) -> None:
        """Show or hide all results."""
        for layer in self.layers:
            if layer is not None and layer is not self.source:
                layer.visible = visible

    def _layer(self, row: "Row", restored: NDArray[Any] | None) -> ImageLayer | None:
        """Layer of a row; that of a blurred image is there already."""
        is_input = row.kind == "blurred"
        if restored is None:
            return None
        if is_input and not self.request.is_sharp:
            return self.source
        layer: ImageLayer = self.viewer.add_image(
            restored,
            name=f"{self.name}: {row.method}",
            metadata=metadata(BLURRED if is_input else DEBLURRED, **self._how(row)),
            **self._options,
        )
        layer.name_overlay.visible = True  # tells pictures apart that lie side by side
        layer.name_overlay.font_size = FONT_SIZE
        layer.name_overlay.position = "top_right"  # of long names the end, the method, is seen
        return layer

    def _how(self, row: "Row") -> dict[str, Any]:
        facts = {**self._facts, "quality": dict(row.quality)}
        if row.kind == "blurred":
            return facts
        method = self.request.methods[row.method]
        facts |= {"method": row.method, "seconds": row.inference_seconds}
        if isinstance(method, Settings):
            return facts | {"settings": method.model_dump(mode="json")}
        return facts | {
            "network": row.method,
            "network_settings": method.config.network.model_dump(mode="json"),
            "network_step": method.step,
            "network_metrics": dict(method.metrics),
            "settings": self.request.runtime.model_dump(mode="json"),
        }
