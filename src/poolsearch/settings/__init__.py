"""What a user can set: groups of fields with their rules, methods, checks, what is filled in. May import nothing but
``poolsearch.errors``."""

from __future__ import annotations

from poolsearch.settings.resolved import ResolvedSettings
from poolsearch.settings.settings import Settings

__all__ = ["ResolvedSettings", "Settings"]
