"""Files: the paths of a run folder, atomic writing, locks, the record ``run.json``. May import ``settings`` and
``space``.

Whatever a later stage reads is read here, and refused by name when it is damaged.
"""
