"""Progress of jobs in napari's activity dock."""

from napari.utils import progress

from napari_coordgate.events import Progress
from napari_coordgate.widgets.jobs import Job

MAX_COUNT = 2**31 - 1
"""Largest number of Qt's progress bars."""


def show_activity(job: Job) -> None:
    """Show a job in napari's activity dock, from its first progress to its end."""
    shown: list[progress] = []

    def show(event: object) -> None:
        if not isinstance(event, Progress):
            return
        unit = 1 + event.total // MAX_COUNT
        if not shown:
            shown.append(progress(total=event.total // unit, desc=job.title))
        bar = shown[0]
        if bar.total != event.total // unit:
            bar.total = event.total // unit
        bar.set_description(f"{job.title}: {event.stage}")
        bar.update(event.done // unit - bar.n)

    def pause(is_paused: bool) -> None:
        for bar in shown:
            bar.set_description(f"{job.title}: {'paused' if is_paused else 'running'}")

    def end(_: object) -> None:
        for bar in shown:
            bar.close()

    job.happened.connect(show)
    job.paused_changed.connect(pause)
    job.finished.connect(end)
