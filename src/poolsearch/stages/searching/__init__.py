"""The parts of the search: what it keeps of its scores and sets of weights."""
