"""Files that workers have: one task each, or a large image shared out by its planes."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from napari_coordgate.batch.plan import Planned
from napari_coordgate.batch.work import Outcome, Task, begin_result, open_source
from napari_coordgate.errors import CanceledError
from napari_coordgate.inference import Predictor
from napari_coordgate.io import plane_indices
from napari_coordgate.model import Model

__all__ = ["OpenFile", "is_shared"]

SHARED_BYTES = 2**28
"""Size from which on an image is shared out."""
PARTS = 4
"""Parts of a shared image for each file that the workers hold at once."""


def is_shared(task: Task) -> bool:
    """Whether several workers may work on one file: its result takes planes from all of them."""
    return task.config.format == "ome-zarr" and task.state[0] >= SHARED_BYTES


class OpenFile:
    """A file from the moment when workers get it until all that they make of it is there.

    Parameters
    ----------
    planned : Planned
        The file.
    task : Task
        What is to be done.
    """

    def __init__(self, planned: Planned, task: Task) -> None:
        self.planned = planned
        self.task = task
        self.tasks: Sequence[Task] = [task]
        self.parts: dict[int, float] = {}
        self._outcomes: list[Outcome] = []
        self._result = ExitStack()

    def share(self, width: int) -> None:
        """Begin the result here, and let tasks fill it, some planes each.

        Parameters
        ----------
        width : int
            Files that the workers hold at once.

        Raises
        ------
        CoordGateError
            If the file or its result will not do.
        """
        checkpoint = Model.load(self.task.model)
        image, place = open_source(self.task, checkpoint)
        count = sum(1 for _ in plane_indices(image))
        # The network computes elsewhere; here it only tells the size of its tiles.
        here = Predictor(checkpoint, self.task.config, self.task.runtime.on("cpu"))
        chunk = here.tile_shape(place.window.shape)
        out = self._result.enter_context(begin_result(self.task, image, chunk))
        size = -(-count // (PARTS * width))
        self.tasks = [
            replace(self.task, number=number, only=slice(first, first + size), out=out)
            for number, first in enumerate(range(0, count, size))
        ]

    @property
    def part(self) -> float:
        """How much of it is done, 0 to 1."""
        return sum(self.parts.values()) / len(self.tasks)

    @property
    def is_ended(self) -> bool:
        """Whether all its tasks have ended."""
        return len(self._outcomes) == len(self.tasks)

    def take(self, number: int, outcome: Outcome) -> None:
        """Take what came of one of its tasks."""
        self.parts[number] = 1.0
        self._outcomes.append(outcome)

    def end(self) -> Outcome:
        """What came of the file; its result has its name now, or nothing is left of it."""
        worst = min(self._outcomes, key=lambda outcome: _RANK[outcome.state], default=_UNDONE)
        worst = replace(
            worst if self.is_ended or worst.state == "failed" else _UNDONE,
            seconds=sum(outcome.seconds for outcome in self._outcomes),
            pair=next((outcome.pair for outcome in self._outcomes if outcome.pair), None),
        )
        try:
            with self._result:
                if worst.state != "done":
                    raise CanceledError("The image is not whole.")  # so its result is removed
        except CanceledError:
            return worst
        except Exception as error:  # one file must not end the batch
            return Outcome.of_error(error, self.task.source, worst.seconds)
        return worst


_RANK = {"failed": 0, "canceled": 1, "done": 2}
_UNDONE = Outcome("canceled", 0.0)
