"""What all tests share: how hypothesis draws its examples.

The default profile always draws the same examples, so that a red run can be repeated;
HYPOTHESIS_PROFILE=explore draws new ones. Neither has a deadline: a first example may have to compile C.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

SLOW_EXAMPLES = (HealthCheck.too_slow,)

settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=SLOW_EXAMPLES)
settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=SLOW_EXAMPLES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite tests/codegen/golden; then review the diff.")
