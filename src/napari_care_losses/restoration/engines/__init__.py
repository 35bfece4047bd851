"""What runs a tile through a network: torch, OpenVINO, programs of other tools."""
