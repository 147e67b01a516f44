"""One trainer for everything that is trained. May import supernets, networks and workers, and knows no method."""
