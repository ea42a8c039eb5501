"""Looking at a database for the first time: what is inferred, confirmed, and asked for."""
