"""Image files: TIFF and OME-Zarr, read lazily and written whole or not at all."""
