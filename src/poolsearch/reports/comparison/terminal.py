from pathlib import Path


def show_comparison(folder: Path) -> None:
    """Stub."""
