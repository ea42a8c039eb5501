"""Settings of the property-based tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that does other work as well is slow now and then; that is no failure.
settings.register_profile(
    "unit", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")
