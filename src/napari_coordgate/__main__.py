"""Run the command line: ``python -m napari_coordgate``."""

import sys

from napari_coordgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
