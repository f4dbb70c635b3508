"""napari's door: what the manifest `napari.yaml` names.

napari imports a module when one of its commands is first used, so this package
imports nothing by itself.
"""
