"""Foreign files are read within limits and guarded; our own are written whole and verified."""
