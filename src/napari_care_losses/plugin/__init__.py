"""What the napari manifest names beside the widgets: reader, writer, sample data."""
