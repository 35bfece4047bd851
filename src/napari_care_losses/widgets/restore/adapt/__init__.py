"""A model adapted to the shown stack: trained further on it alone, compared, kept or discarded."""
