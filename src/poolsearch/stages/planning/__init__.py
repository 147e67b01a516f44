"""The parts of planning: what a step works at, measuring, fitting, memory, arithmetic, advice."""
