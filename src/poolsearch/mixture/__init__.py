"""The balanced mixture: scores, temperature, balancing. Tables and indices only; may import ``poolsearch.errors``
alone."""
