"""How far a comparison has come as a whole, though its parts take very different times."""

from collections.abc import Iterator, Mapping

from napari_coordgate.config import Method, TrainingConfig
from napari_coordgate.events import Progress, Stopwatch

__all__ = ["Overall", "testing_work", "training_work"]

PARTS = 1000
"""Units of the progress as a whole."""
BACKWARD = 3
"""A training step costs so many times what its forward pass does."""
JUDGING = 50
"""Work a pixel of blurring and judging a test image, in that of a network's (depth, channels)."""
ITERATION = 30
"""Work a pixel of an iteration of a classical method, likewise."""


def training_work(config: TrainingConfig, images: int, frame_shape: tuple[int, int]) -> float:
    """Rough work of a training, in arbitrary units: good for the time left, no more.

    Parameters
    ----------
    config : TrainingConfig
        The network and its training.
    images : int
        Number of images to train on.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Returns
    -------
    float
        The work.
    """
    height, width = frame_shape
    if config.sampling == "window":
        height, width = min(height, config.window_size), min(width, config.window_size)
    windows = config.steps * config.batch_size
    if config.epochs is not None:
        windows = config.epochs * images
    return BACKWARD * windows * height * width * _work_a_pixel(config)


def testing_work(method: Method | None, images: int, frame_shape: tuple[int, int]) -> float:
    """Rough work of testing a method, in the units of `training_work`.

    Parameters
    ----------
    method : Method or None
        The method; none: nothing is restored.
    images : int
        Number of test images.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Returns
    -------
    float
        The work.
    """
    work = float(JUDGING)
    if method is not None and method.network is not None:
        work += _work_a_pixel(TrainingConfig(network=method.network))
    elif method is not None and method.checkpoint is not None:
        work += _work_a_pixel(TrainingConfig())
    elif method is not None:
        iterative = method.wiener or method.richardson_lucy
        work += ITERATION * (iterative.num_iter if iterative else 0)
    return work * images * frame_shape[0] * frame_shape[1]


def _work_a_pixel(config: TrainingConfig) -> float:
    """Each level of a U-Net costs as much as the first, for channels double as sides halve."""
    return max(1, len(config.network.channels)) * config.network.base_channels**2


class Overall:
    """Progress of a comparison as a whole.

    Parameters
    ----------
    works : mapping of str to float
        Work of each part that is to be done.
    """

    def __init__(self, works: Mapping[str, float]) -> None:
        self._works = dict(works)
        self._shares = dict.fromkeys(works, 0.0)
        self._stopwatch = Stopwatch("comparing", PARTS)
        self._told = -1

    def came(self, part: str, share: float) -> Iterator[Progress]:
        """Tell how far a part has come.

        Parameters
        ----------
        part : str
            Which of them.
        share : float
            0 at its beginning, 1 at its end.

        Yields
        ------
        Progress
            Of the whole, if that can be seen.
        """
        self._shares[part] = share
        done = sum(work * self._shares[name] for name, work in self._works.items())
        units = int(PARTS * done / max(sum(self._works.values()), 1e-9))
        if units > self._told:
            self._told = units
            yield self._stopwatch.progress(units)
