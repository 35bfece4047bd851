"""Files of microscope makers, and what opened images of all formats share."""
