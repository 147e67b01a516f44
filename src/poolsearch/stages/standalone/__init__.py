"""Stand-alone training of placements: a trial, a rung of them, and what is shown meanwhile."""
