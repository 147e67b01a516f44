"""Independent trials in several processes. May import nothing of the method: what a trial does is given to it."""
