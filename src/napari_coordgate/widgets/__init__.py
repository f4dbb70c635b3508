"""The napari plugin, as named by the manifest ``napari.yaml``.

napari imports a module when one of its commands is first used, so this package imports nothing.
"""
