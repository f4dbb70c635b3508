"""A layer whose pixels follow what is computed."""

from typing import Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

__all__ = ["LiveLayer"]


class LiveLayer:
    """A layer that is added when there is something to see, and changed from then on.

    One that its user has removed does not come back, until it is asked for anew.

    Parameters
    ----------
    viewer : Viewer
        Where it is shown.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.layer: ImageLayer | None = None

    @property
    def is_removed(self) -> bool:
        """Whether its user has removed it."""
        return self.layer is not None and self.layer not in self.viewer.layers

    def show(self, pixels: Any, **options: Any) -> bool:
        """Show pixels.

        Parameters
        ----------
        pixels : array
            What to show.
        **options
            Of ``viewer.add_image``; place and metadata are also those of a layer that is changed.

        Returns
        -------
        bool
            Whether the layer is new.
        """
        if self.layer is None:
            self.layer = self.viewer.add_image(pixels, **options)
            return True
        if not self.is_removed:
            self.layer.data = pixels
            for name in ("scale", "translate", "units", "metadata"):
                if name in options:
                    setattr(self.layer, name, options[name])
        return False

    def remove(self) -> None:
        """Take the layer away; the next pixels make a new one."""
        if self.layer is not None and not self.is_removed:
            self.viewer.layers.remove(self.layer)
        self.layer = None

    def raise_(self) -> None:
        """Lay the layer over all others."""
        if self.layer is not None and not self.is_removed:
            self.viewer.layers.move(self.viewer.layers.index(self.layer), -1)
