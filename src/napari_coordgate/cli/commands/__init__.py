"""The commands with their flags, by what they are for; `napari_coordgate.cli.app` lists them.

Their code is in the modules of `napari_coordgate.cli`, which are imported when a command runs, so
that ``--help`` is fast.
"""
