"""Build the page that answers the paper's claims from the figures' data.

Run: ``python -m benchmarks.paper_page``
"""

from pathlib import Path

from paper.page import build_page

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write ``docs/paper.md`` from what lies in ``docs/paper``."""
    (DOCS / "paper.md").write_text(build_page(DOCS / "paper"), encoding="utf-8")


if __name__ == "__main__":
    main()
