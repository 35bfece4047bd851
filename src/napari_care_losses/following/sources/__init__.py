"""Files and folders as growing sources."""
