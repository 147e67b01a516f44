"""Methods compared on the same space, images and budget."""
