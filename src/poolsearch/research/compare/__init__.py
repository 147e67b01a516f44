"""Methods compared on the same space, images and budget. May import the pipeline, the stages and
``research.reports``."""
