"""One HTML file that needs nothing else: no network, and no script but the two whose hashes its policy names."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from poolsearch.reports.figures.theme import Figure, page_specs, to_png, to_svg
from poolsearch.reports.page.assets import SCRIPT, STYLE
from poolsearch.storage import files, run_dir
from poolsearch.storage.disk import replacing
from poolsearch.texts import writable


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that can stand inside a script element."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    # inside a script element only these end or nest it; in JavaScript both can only occur within strings
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


Body = Callable[[Mapping[str, str]], str]
"""What stands on a page, as HTML: given the HTML of each figure by its name."""


def build_page(title: str, body: Body, figures: Sequence[Figure], stills: Mapping[str, tuple[str, bytes]]) -> str:
    """A page as HTML.

    Args:
        title: of the window.
        body: what stands on it.
        figures: what to draw.
        stills: media type and content of a picture per figure name, shown until the script has run.
    """
    scripts = [vega_bundle(), SCRIPT] if figures else []
    drawn = {figure.name: _figure(figure, *stills[figure.name]) for figure in figures}
    specs = json.dumps({figure.name: page_specs(figure) for figure in figures}, separators=(",", ":"))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            body(drawn),
            "</main>",
            f'<script type="application/json" id="charts">{_inert(specs)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _inert(text: str) -> str:
    """JSON in which nothing can end or nest a script element: ``<`` occurs in its strings only."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _figure(figure: Figure, media: str, content: bytes) -> str:
    source = f"data:{media};base64,{base64.b64encode(content).decode()}"
    panels = '<div class="panel"></div>' * len(figure.panels)
    wide = {1: "", 2: " two"}.get(figure.columns, " four")
    return (
        f'<figure id="{figure.name}">\n<figcaption>{escape(figure.caption)}</figcaption>\n'
        f'<img class="still" src="{source}" alt="{escape(figure.alt)}">\n'
        f'<div class="live{wide}" role="img" aria-label="{escape(figure.alt)}">{panels}</div>\n</figure>'
    )


HEAVY_SVG = 150_000
"""Above this many bytes a still picture is drawn in pixels, so that the page stays light."""


def write_page(folder: Path, title: str, body: Body, figures: Sequence[Figure]) -> Path:
    """Write ``report.html`` and ``figures/`` into a folder.

    Args:
        folder: of a run, or of what else has a page.
        title: of the window.
        body: what stands on the page, given the HTML of each figure by its name.
        figures: what to draw.

    Returns:
        The path of the page.
    """
    paths = run_dir.RunDir(folder)
    stills: dict[str, tuple[str, bytes]] = {}
    for figure in figures:
        svg = to_svg(figure)
        files.write_text(paths.figures / f"{figure.name}.svg", svg)
        with replacing(paths.figures / f"{figure.name}.png") as temporary:
            temporary.write_bytes(to_png(svg))
        small = len(svg) <= HEAVY_SVG
        stills[figure.name] = ("image/svg+xml", svg.encode()) if small else ("image/png", to_png(svg, 1, colours=128))
    # whoever reads a run may write its page: the digests of the folder are kept by the process that holds it
    with replacing(paths.report) as temporary:
        temporary.write_text(writable(build_page(title, body, figures, stills)), encoding="utf-8")
    return paths.report
