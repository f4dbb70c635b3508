"""Deblur folders of images: nothing lost, nothing half written, whatever happens meanwhile."""

from napari_coordgate.batch.job import Summary, deblur_folder, deblur_folder_events

__all__ = ["Summary", "deblur_folder", "deblur_folder_events"]
