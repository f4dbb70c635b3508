"""Deblur folders of images, with a report from which an interrupted batch resumes."""

from napari_coordgate.batch.folder import BatchSummary, deblur_folder, deblur_folder_events

__all__ = ["BatchSummary", "deblur_folder", "deblur_folder_events"]
