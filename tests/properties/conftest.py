"""How long the properties are tried: HYPOTHESIS_PROFILE is `quick` (the default, some tens of seconds) or `long`."""

import os

from hypothesis import HealthCheck, settings

# No deadline for one example: a busy machine is no bug. A failure prints the blob that repeats it.
settings.register_profile(
    "quick",
    max_examples=400,
    stateful_step_count=80,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=5_000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
