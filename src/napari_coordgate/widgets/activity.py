"""Progress of jobs in napari's activity dock."""

from napari.utils import progress
from qtpy.QtCore import QTimer

from napari_coordgate.events import Progress
from napari_coordgate.widgets.jobs import Job

MAX_COUNT = 2**31 - 1
"""Largest number of Qt's progress bars."""
INTERVAL_MS = 200


def show_activity(job: Job) -> None:
    """Show a job in napari's activity dock, from its first progress to its end."""
    activity = _Activity(job)
    # Functions keep the activity alive as long as the job; PyQt would not for its methods.
    job.happened.connect(lambda event: activity.note(event))
    job.paused_changed.connect(lambda is_paused: activity.pause(is_paused))
    job.finished.connect(lambda _: activity.end())


class _Activity:
    """Bar of one job.

    napari's bars handle the events of Qt when they change, the next progress among them. So only
    the latest progress is shown, and never from within the showing of another.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.bar: progress | None = None
        self._latest: Progress | None = None
        self._is_waiting = False

    def note(self, event: object) -> None:
        """Show a progress soon."""
        if isinstance(event, Progress):
            self._latest = event
            self._show_soon()

    def _show_soon(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            QTimer.singleShot(INTERVAL_MS, self._show)

    def _show(self) -> None:
        shown, job = self._latest, self.job
        if shown is not None and job.end is None:
            unit = 1 + shown.total // MAX_COUNT
            total = shown.total // unit
            bar = self.bar
            if bar is None:
                bar = self.bar = progress(total=total, desc=job.title)
            if bar.total != total:
                bar.total = total
            bar.set_description(f"{job.title}: {shown.stage}")
            bar.update(shown.done // unit - bar.n)
        self._is_waiting = False
        if job.end is not None:  # meanwhile
            self.end()
        elif self._latest is not shown:
            self._show_soon()

    def pause(self, is_paused: bool) -> None:
        """Say that the job pauses, or goes on."""
        if self.bar is not None:
            self.bar.set_description(f"{self.job.title}: {'paused' if is_paused else 'running'}")

    def end(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
