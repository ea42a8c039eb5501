"""The fault campaign, and mutations that the checker must find (see docs/faults.md)."""
