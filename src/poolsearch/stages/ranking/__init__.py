"""The parts of the ranking: what to evaluate, in how large batches, which placements to stop, and the table."""
