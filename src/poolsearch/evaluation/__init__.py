"""How good placements and rankings are: pure statistics and metrics, the verdict, and ground truth as tables.

May import ``settings``, ``storage`` and what lies below them; no torch.
"""
