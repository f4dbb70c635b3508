"""The version of the package, said once: its build and its files take it from here."""

__all__ = ["__version__"]

__version__ = "0.1.0"
