"""Layers: as images of the core, and as places for what the core makes.

Each decision is a plain function of layers; nothing here needs a window.
"""
