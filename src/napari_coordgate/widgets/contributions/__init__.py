"""What napari's menus reach without a widget: samples, readers, writers, preferences."""
