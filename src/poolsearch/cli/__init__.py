"""The command line: ``main`` parses, ``dispatch`` calls one function and prints, ``process`` sets up threads and
memory.

May import everything; nothing imports it. ``--help`` must answer without torch.
"""
