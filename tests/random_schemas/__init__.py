"""Random schemas with rows, taken through both layouts (``make schemas``)."""
