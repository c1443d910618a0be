"""Puts the C runtime and the boards inside the wheel.

Not in pyproject.toml's force-include, because an editable install would then get copies that go stale.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageData(BuildHookInterface):  # type: ignore[type-arg]
    """rnnc.resources looks for these under rnnc/_data first and in the checkout otherwise."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"].update({"runtime": "rnnc/_data/runtime", "boards": "rnnc/_data/boards"})
