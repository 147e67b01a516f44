"""What a page is made from: a run folder's files as frozen values. May import nothing else of the reports."""
