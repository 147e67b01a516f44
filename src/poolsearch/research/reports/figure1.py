"""The page of Figure 1: what interference costs, what the supernets see, and how alike their representations are."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from poolsearch.reports.page.html import write_page
from poolsearch.reports.page.markup import footer, macs_text, section, table
from poolsearch.research.reports.feature_maps import MapGrid, draw_grid
from poolsearch.research.reports.figure1_charts import accuracies, representations
from poolsearch.research.reports.figure1_words import caveats, difference_text, percent, sentences, view_name
from poolsearch.storage.files import atomic, read_json
from poolsearch.storage.run_dir import RunDir

Json = dict[str, Any]


def write_figure1(out: Path) -> Path:
    """Write ``report.html`` and ``figures/`` of a finished recipe from its ``figure1.json`` and ``maps.npz``.

    Returns:
        The path of the page.
    """
    data: Json = read_json(out / "figure1.json")
    picture = draw_grid(read_grid(out, data))
    with atomic(RunDir(out).figures / "feature_maps.png") as temporary:
        temporary.write_bytes(picture)
    figures = [accuracies(data), representations(data)]
    return write_page(out, "poolsearch: Figure 1", partial(_body, data, picture), figures)


def read_grid(out: Path, data: Json) -> MapGrid:
    """The maps that are shown, a row for each view of a supernet."""
    classes = data["maps"]["classes"]
    rows: list[str] = []
    maps: list[list[np.ndarray]] = []
    with np.load(out / "maps.npz") as arrays:
        pixels_SHWC = arrays["images"]
        for entry in data["means"]:
            at = f"{entry['arm']}/{entry['role']}"
            blocks = sum(name.startswith(f"{at}/") for name in arrays.files)
            rows.append(view_name(entry["arm"], entry["role"]))
            maps.append([arrays[f"{at}/{block}"] for block in range(blocks)])
    return MapGrid(rows, classes, pixels_SHWC, maps)


def _body(data: Json, picture: bytes, figures: Mapping[str, str]) -> str:
    first, *rest = sentences(data)
    head = (
        "<header>\n<h1><strong>poolsearch</strong>: Figure 1 of the paper, "
        f"{escape(data['net'])} on {escape(data['data']['name'])}</h1>\n"
        f'<p class="verdict">{escape(first)}</p>\n'
        + "\n".join(f'<p class="detail">{escape(text)}</p>' for text in rest)
        + "\n</header>"
    )
    parts = [
        head,
        section("What training together costs", figures["accuracies"], _table(data)),
        section("What the supernets see", _maps(data, picture)),
        section("How alike the representations are", figures["representations"]),
        section("What to doubt", "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in caveats(data)) + "</ul>"),
        section("How it was made", _facts(data)),
        footer(str(data["poolsearch"])),
    ]
    return "\n".join(parts)


def _table(data: Json) -> str:
    differences = {(entry["arm"], entry["role"]): entry for entry in data["differences"]}
    first = {search["arm"]: search for search in data["searches"] if search["seed"] == 0}
    lines: list[tuple[str, list[str]]] = []
    for entry in data["means"]:
        difference = differences.get((entry["arm"], entry["role"]))
        result = next(r for r in first[entry["arm"]]["results"] if r["role"] == entry["role"])
        lines.append(("", [
            escape(view_name(entry["arm"], entry["role"])), escape(result["placement"]), macs_text(result["macs"]),
            str(first[entry["arm"]]["epochs"]), str(entry["n"]), percent(entry["mean"]),
            "–" if entry["std"] is None else f"{100 * entry['std']:.2f}",
            "–" if difference is None else difference_text(difference),
        ]))  # fmt: skip
    head = [("trained", "text"), ("placement", "text"), ("MACs", ""), ("epochs", ""), ("seeds", ""), ("accuracy", "")]
    head += [("std", ""), ("minus alone, points", "")]
    caption = (
        "Accuracy on the whole search-val half, mean and standard deviation over seeds. The difference is paired: a "
        "seed has the same halves and the same weights at the start in every search; with a 95% interval (Student's t)."
    )
    return table(caption, head, lines)


def _maps(data: Json, picture: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    shown = " and ".join(f"one of class {name}" for name in data["maps"]["classes"])
    text = (
        f"Maps after each block for two images of the search-val half ({shown}), seed {data['maps']['seed']}. A row is "
        "a trained supernet at one of its placements. In each cell stand the four channels that vary most over images, "
        "the same for both placements of a supernet; each map is drawn from its least value (dark) to its largest "
        "(light). Where a halving stands before a block, its pixels are larger from there on."
    )
    if len(data["maps"]["classes"]) == 1:
        text = text.replace("two images", "an image")
    return (
        f"<figure>\n<figcaption>{escape(text)}</figcaption>\n"
        f'<img class="still" src="{source}" alt="{escape(text)}">\n</figure>'
    )


def _facts(data: Json) -> str:
    images = data["data"]["images"]
    versions = ", ".join(f"{name} {value}" for name, value in data["versions"].items())
    seconds = sum(search["seconds"] for search in data["searches"])
    settings = data["settings"]
    lines = [
        ("recipe", f"figure1, scale {data['scale']}"),
        ("data", f"{data['data']['name']}: {images['search_train']:,} search-train, "
                 f"{images['search_val']:,} search-val"),
        ("network", f"{data['net']}, width {settings['width'] or 'its own'}; its own placement is {data['default']}"),
        ("training", f"batch {settings['batch']}, learning rate {settings['lr']:g}, weight decay "
                     f"{settings['weight_decay']:g}, BatchNorm by {settings['norm']}, one supernet (SPOS)"),
        ("searches", f"{len(data['searches'])}, {seconds:,.0f} s in all"),
        ("hardware", f"{data['hardware']['device_name']}, {data['hardware']['threads']} threads, "
                     f"{data['hardware']['precision']}"),
        ("versions", f"poolsearch {data['poolsearch']}, {versions}"),
    ]  # fmt: skip
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in lines)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'
