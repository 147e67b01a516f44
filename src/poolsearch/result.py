"""What a run found, as an object: read from its folder when it is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import FixedPlacementNet
from poolsearch.progress import SilentProgress
from poolsearch.reports import write_report
from poolsearch.reports.data.answer_rows import AnswerRow, answer_rows
from poolsearch.reports.data.run_data import RunData, read_run
from poolsearch.reports.text.verdict_text import verdict
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.open_run import open_run
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.space import Placement
from poolsearch.stages.export import trained_network, winner_of
from poolsearch.storage.files import read_bytes, read_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.tasks.regression import Values
from poolsearch.tasks.task import NamedTask

_SHOWN = 10
_COLUMNS = ("rank", "placement", "val_metric", "prediction", "prediction_low", "prediction_high", "macs_ratio")


class Table:
    """Rows with named columns, such as a ranking.

    pandas and polars take it as it is, by the Arrow interface: ``pandas.DataFrame(table.to_arrow())`` is
    :meth:`to_pandas`, and ``polars.DataFrame(table)`` works.

    Args:
        arrow: the rows.
        shown: which columns are printed; those that hold nothing are left out.
    """

    def __init__(self, arrow: pa.Table, shown: tuple[str, ...]) -> None:
        self._arrow, self._shown = arrow, shown

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return self._arrow.column_names

    def to_arrow(self) -> pa.Table:
        """As a table of pyarrow.

        Returns:
            The table itself.
        """
        return self._arrow

    def to_pandas(self) -> Any:
        """As a data frame of pandas.

        Returns:
            A ``pandas.DataFrame``.

        Raises:
            PoolsearchError: pandas is not installed.
        """
        try:
            return self._arrow.to_pandas()
        except ModuleNotFoundError:
            raise PoolsearchError("pandas is not installed: pip install pandas. Or take to_arrow().") from None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._arrow.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return self._arrow.num_rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a table of {len(self)}")
        return self._arrow.slice(row % len(self), 1).to_pylist()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._arrow.to_pylist())

    def __repr__(self) -> str:
        names, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in (names, *rows)]
        return "\n".join([*lines, *self._rest()])

    def to_html(self) -> str:
        """The first rows as an HTML table, as notebooks show it.

        Returns:
            HTML, with nothing of the table's texts taken for it.
        """
        names, rows = self._cells()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        rest = "".join(f"<p>{escape(line)}</p>" for line in self._rest())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    _repr_html_ = to_html

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Names of the columns that are shown, and the texts of the first rows."""
        first = self._arrow.slice(0, _SHOWN).to_pylist()
        names = [name for name in self._shown if any(row.get(name) is not None for row in first)]
        return names, [[_cell(name, row[name]) for name in names] for row in first]

    def _rest(self) -> list[str]:
        left = len(self) - _SHOWN
        return [f"... and {left:,} more rows; all columns: {', '.join(self.columns)}"] if left > 0 else []


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if name.startswith("prediction"):
        return f"{value:+.2f}"
    return f"{value:.2f}x" if name == "macs_ratio" else f"{value:.2%}"


@dataclass(frozen=True)
class Answer:
    """The best that was found within a limit on MACs.

    Attributes:
        limit: in times the MACs of the network's own placement; None: no limit.
        placement: the first of the ranking within it; None where none is.
        is_default: whether that is the network's own placement.
        macs_ratio: its MACs, in times those of the network's own.
        test: its metric on the test split, the mean over seeds, a fraction; None before the test split was opened.
        difference: to the network's own placement there, a fraction; None where nothing was compared.
        low, high: 95 % interval of the difference.
        better: whether the test says that it beats the network's own placement.
    """

    limit: float | None
    placement: Placement | None
    is_default: bool = False
    macs_ratio: float | None = None
    test: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    better: bool = False

    def __str__(self) -> str:
        limit = "Without a limit" if self.limit is None else f"Within {self.limit:g} times the MACs"
        if self.placement is None:
            return f"{limit}: none was ranked"
        told = f"{limit}: {self.placement.shown}{' (default)' if self.is_default else ''}"
        if self.macs_ratio is not None:
            told += f", at {self.macs_ratio:.2f} times"
        if self.difference is not None and self.low is not None and self.high is not None:
            told += f", {100 * self.difference:+.2f} points ({100 * self.low:+.2f} to {100 * self.high:+.2f})"
        return told


@dataclass(frozen=True)
class Picture:
    """A figure of a run's page.

    Attributes:
        name: of its files.
        path: of the SVG; the PNG lies beside it.
    """

    name: str
    path: Path

    @property
    def png(self) -> Path:
        """The path of the same figure as a PNG."""
        return self.path.with_suffix(".png")

    def _repr_svg_(self) -> str:
        return self.path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Result:
    """What a run found. Everything is read from the run's folder when it is asked for, so it is as new as the folder.

    Shown in a notebook it is the verdict, the answers and the best of the ranking.

    Attributes:
        folder: of the run.
        trust: whether Python files that the folder names may run, for :meth:`network`.
        given: a network and a task that were given as objects.
    """

    folder: Path
    trust: Trust = field(default=NAMED, repr=False)
    given: Objects = field(default=NO_OBJECTS, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).expanduser())

    @classmethod
    def of(cls, folder: str | Path, trust: Trust = NAMED, net: Any = None) -> Result:
        """The result of a run that is there.

        Args:
            folder: of the run, finished or not.
            trust: whether Python files that it names may run.
            net: the network, where the run was begun with an object; only :meth:`network` needs it.

        Returns:
            What it found so far.

        Raises:
            PoolsearchError: there is no run in the folder.
        """
        folder = Path(folder).expanduser()
        read_json(RunDir(folder).run)  # says what is wrong when this is no run folder
        return cls(folder, trust, Objects.of(net))

    @property
    def page(self) -> Path:
        """The path of the page, ``report.html``, which is written where it is not there yet."""
        path = RunDir(self.folder).report
        return path if path.exists() else write_report(self.folder)

    @property
    def verdict(self) -> str:
        """What the run says, in one sentence."""
        return verdict(self._data).sentence

    @property
    def ranking(self) -> Table:
        """The placements, best first, with the columns of ``ranking.csv``; no rows before there is one."""
        path = RunDir(self.folder).ranking
        if not path.exists():
            return Table(pa.table({name: pa.array([], pa.null()) for name in _COLUMNS}), _COLUMNS)
        options = pc.ConvertOptions(
            column_types={"placement": pa.string(), "is_default": pa.bool_(), "control": pa.bool_()},
            strings_can_be_null=True, null_values=["", "nan"],
        )  # fmt: skip
        return Table(pc.read_csv(pa.py_buffer(read_bytes(path)), convert_options=options), _COLUMNS)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The best within each limit on MACs that was asked for, the one without a limit last."""
        return tuple(_answer(row) for row in answer_rows(self._data))

    @property
    def best_placement(self) -> Placement | None:
        """The placement that the verdict is about: the first of the ranking; None before there is one.

        Whether it beats the network's own is another matter: see :attr:`recommended`.
        """
        if not RunDir(self.folder).ranking.exists():
            return None
        return winner_of(RunDir(self.folder))

    @property
    def recommended(self) -> Placement:
        """The placement to use: the best of those that the test says beat the network's own, else the network's own."""
        better = [one for one in self.answers if one.better and one.placement is not None]
        if better:
            best = max(better, key=lambda one: one.difference or 0.0)
            assert best.placement is not None
            return best.placement
        return Placement.parse(read_json(RunDir(self.folder).run)["space"]["default"])

    @property
    def figures(self) -> Mapping[str, Picture]:
        """The figures of the page by name; in a notebook the last line of a cell shows one."""
        self.page  # noqa: B018  # which draws them
        paths = sorted(RunDir(self.folder).figures.glob("*.svg"))
        return {path.stem: Picture(path.stem, path) for path in paths}

    def network(self, placement: Placement | str | None = None, seed: int = 0, normalize: bool = True) -> nn.Module:
        """A network that was retrained, in evaluation mode, on the CPU.

        It is made of the network's own modules. To have it as code and weights that need no poolsearch, see
        :func:`poolsearch.export`.

        Args:
            placement: one that was retrained, or "default"; None is the best placement.
            seed: which of its trainings.
            normalize: put the normalisation that it was trained with in front, so that it takes pixels of 0 to 1, and
                of a regression gives values; otherwise it takes normalised images, and gives what it was trained to.

        Returns:
            A module of images (B, C, H, W) that gives logits (B, classes), or what the task has for outputs.

        Raises:
            PoolsearchError: there is no such training, the images or the network of the run are not there any more, or
                another process holds the folder.
        """
        text = None if placement is None else str(placement)
        with open_run(self.folder, None, True, SilentProgress(), trust=self.trust, objects=self.given) as run:
            chosen, net = trained_network(run, text, seed)
            fixed = FixedPlacementNet(net, chosen)
            if not normalize:
                return fixed.eval()
            from torchvision.transforms.v2 import Normalize

            mean_C, std_C = (values.tolist() for values in run.statistics)
            parts: OrderedDict[str, nn.Module] = OrderedDict(normalize=Normalize(mean_C, std_C), network=fixed)
            if isinstance(run.task, NamedTask) and run.task.scale_K2 is not None:
                parts["values"] = Values(run.task.scale_K2)
            return nn.Sequential(parts).eval()

    @property
    def _data(self) -> RunData:
        return read_run(self.folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Result of {self.folder}: {self.verdict}"

    def _repr_html_(self) -> str:
        answers = "".join(f"<li>{escape(str(answer))}</li>" for answer in self.answers)
        return (
            f"<p><strong>{escape(self.verdict)}</strong></p><ul>{answers}</ul>{self.ranking.to_html()}"
            f"<p>Page: {escape(str(RunDir(self.folder).report))}</p>"
        )


def _answer(row: AnswerRow) -> Answer:
    if row.pick is None:
        return Answer(row.limit, None)
    found = (row.default or {}).get("difference") or {}
    return Answer(
        row.limit, Placement.parse(row.pick.placement), row.pick.is_default, row.pick.macs_ratio,
        None if row.tested is None else row.tested["mean"], found.get("mean"), found.get("low"), found.get("high"),
        row.better,
    )  # fmt: skip
