"""What a page draws, each figure in a file of its own. May import ``reports.data`` and ``reports.text``."""
