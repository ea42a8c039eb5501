"""What regionkit is measured against: the best that one would write by hand for the same work."""
