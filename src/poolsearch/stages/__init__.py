"""One stage each: an open run in, files in the run directory out. May import neither reports nor research."""
