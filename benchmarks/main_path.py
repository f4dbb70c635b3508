"""Animated picture of the three steps in the dock, from its photographs.

Run: ``python -m benchmarks.dock FOLDER --sizes 1280 --themes dark --samples 1 --seed 5``, then
``python -m benchmarks.main_path FOLDER docs/images/main_path.gif``.
"""

import argparse
from pathlib import Path

from PIL import Image

STEPS = ("lens", "deblur", "trust")
SECONDS = 2.5
WIDTH = 960


def animate(folder: Path, output: Path) -> None:
    """Write the photographs of the steps in a folder as an animated GIF."""
    frames = []
    for step in STEPS:
        with Image.open(folder / f"dock-{step}-dark-1280.png") as photograph:
            size = WIDTH, round(WIDTH * photograph.height / photograph.width)
            frame = photograph.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        # By octree: the median cut would drop the few pixels of the colors of the verdict.
        frames.append(frame.quantize(256, Image.Quantize.FASTOCTREE))
    first, *others = frames
    duration = round(1000 * SECONDS)
    first.save(output, save_all=True, append_images=others, duration=duration, loop=0)


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main_path", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    animate(options.folder, options.output)


if __name__ == "__main__":
    main()
