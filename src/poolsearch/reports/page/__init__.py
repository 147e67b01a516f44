"""The page itself, as HTML: sections and tables. May import all other parts of the reports."""
