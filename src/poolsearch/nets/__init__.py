"""Networks whose downsampling can be moved: ours, and any CNN restrided. May import ``space`` and what lies below
it."""
