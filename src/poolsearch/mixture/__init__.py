"""The balanced mixture: scores, temperature, balancing. Tables and indices only; it knows no network."""
