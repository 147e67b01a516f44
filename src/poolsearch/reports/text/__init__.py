"""What a page says, as sentences. May import ``reports.data``, and nothing else of the reports."""
