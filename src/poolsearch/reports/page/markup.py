"""Pieces of HTML that the sections of the page are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(caption: str, head: Sequence[tuple[str, str]], lines: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls in its own box.

    Args:
        caption: already HTML.
        head: title and class of each column.
        lines: class of the row and its cells, already HTML.
    """
    titles = "".join(f'<th scope="col" class="{kind}">{title}</th>' for title, kind in head)
    kinds = [kind for _, kind in head]
    rows = "\n".join(
        f'<tr class="{name}">'
        + "".join(f'<td class="{k}">{c}</td>' for c, k in zip(cells, kinds, strict=True))
        + "</tr>"
        for name, cells in lines
    )
    return (
        f'<div class="scroll" tabindex="0">\n<table>\n<caption><span>{caption}</span></caption>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def or_dash(value: float | None, form: str, unit: str = "") -> str:
    """A number in this form, or a dash where there is none."""
    return "–" if value is None else f"{value:{form}}{unit}"


def macs_text(macs: float) -> str:
    """MACs with three figures and a unit."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= size:
            return f"{macs / size:.3g} {unit}" if macs < 1000 * size else f"{macs / size:,.0f} {unit}"
    return f"{macs:.0f}"


def badges(flags: Sequence[str]) -> str:
    """Flags, each in a frame; the first word of one is its class."""
    return "".join(f'<span class="flag {flag.split()[0]}">{flag}</span>' for flag in flags)


def section(title: str, *parts: str | None) -> str:
    """A section of those parts that there are; nothing where there are none."""
    inside = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def footer(version: str) -> str:
    """What every page ends with."""
    return f"<footer>Written by poolsearch {escape(version)}. This page loads nothing from anywhere.</footer>"


def caveat_list(texts: Sequence[str]) -> str:
    """Reasons for doubt as a list, or that there are none."""
    if not texts:
        return "<p>None of the automatic checks found a reason for doubt.</p>"
    return '<ul class="warnings">' + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
