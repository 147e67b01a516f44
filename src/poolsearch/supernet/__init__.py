"""Supernets: one set of weights that runs every placement of a space. May import ``nets`` and ``space``."""
