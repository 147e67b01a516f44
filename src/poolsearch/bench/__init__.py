"""Ground truth of placements as tables, and what can be learnt from them without training anything."""
