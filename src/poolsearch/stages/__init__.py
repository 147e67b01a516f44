"""One stage each: an open run in, files in the run directory out."""
