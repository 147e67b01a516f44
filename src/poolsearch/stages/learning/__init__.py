"""What stand-alone trainings teach about all placements: which to train next, and a ranking by prediction."""
