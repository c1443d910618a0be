"""What all tests share: how hypothesis draws its examples.

The default profile always draws the same examples, so that a red run can be repeated;
HYPOTHESIS_PROFILE=explore draws new ones. Neither has a deadline: a first example may have to compile C.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SLOW_EXAMPLES = (HealthCheck.too_slow,)

settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=SLOW_EXAMPLES)
settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=SLOW_EXAMPLES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
