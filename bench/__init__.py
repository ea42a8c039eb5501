"""Measurements of regionkit itself. Not installed."""
