"""OME-Zarr behind https:// and s3://, which is read only."""
