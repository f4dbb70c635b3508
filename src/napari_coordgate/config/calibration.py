"""Settings of calibrations: measuring the lens and the camera from images."""

from pydantic import Field

from napari_coordgate.config.base import Settings


class BeadsConfig(Settings):
    """Measuring a lens with beads.

    Examples
    --------
    >>> BeadsConfig(threshold=8)
    BeadsConfig(threshold=8.0)
    """

    threshold: float = Field(
        6.0,
        ge=3,
        description="Least signal of a bead, in standard deviations of the noise around it.",
    )
    max_deviance: float = Field(
        3.0,
        gt=1,
        description="Beads whose deviance from the model is larger than this many times the median "
        "are dropped.",
    )
    min_beads: int = Field(8, ge=5, description="Least number of beads to fit a lens to.")
    starts: int = Field(
        15, ge=1, le=1000, description="Number of lenses to start the fit from; the best is kept."
    )
    residual: int = Field(
        3,
        ge=0,
        le=3,
        description="Most components of what the lens cannot describe of the beads; they are part "
        "of the PSF field if beads that were left out agree. 0: none.",
    )
