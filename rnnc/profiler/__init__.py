"""Estimated cycles of a bundle without a board: counts from an emulated run, times from a model of the Cortex-M4."""
