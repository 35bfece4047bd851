"""CSBDeep's model folders."""
