"""The lens and the camera, measured from images: beads, own images, noise, and their check."""

__all__: list[str] = []
