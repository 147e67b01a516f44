"""Opening a run directory: a new one, or one to go on with. Every stage starts here and leaves its entry."""

from __future__ import annotations

import platform
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.cost import CostTable, cost_table, macs_of
from poolsearch.data import (
    Augment,
    Images,
    Loader,
    Split,
    default_cache_dir,
    find_source,
    make_split,
    mean_std,
    open_images,
    shrink,
)
from poolsearch.errors import PoolsearchError
from poolsearch.files import RunDir, atomic, locked, read_json, write_json
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import Poolable, check_input
from poolsearch.nets.resnet import Norm
from poolsearch.placement import Placement
from poolsearch.progress import Progress
from poolsearch.settings import MachineSettings, Settings, check, differences, resolve
from poolsearch.space import Space
from poolsearch.train.machine import Machine, pick_machine

# Which files show that a group of settings is in use; the rest are in use from the start.
_IN_USE_WHEN = {"rank": "ranking.csv", "retrain": "retrain"}
_FREE = {"checkpoint_seconds", "cache_dir"}  # change nothing about the results
_LARGEST_NATIVE = 64


@dataclass(frozen=True)
class Run:
    """An open run: everything that a stage works with. Made by :func:`open_run`."""

    dir: RunDir
    settings: Settings
    images: Images
    split: Split
    space: Space
    full_size: int
    image_size: int
    machine: Machine
    progress: Progress

    @property
    def seed(self) -> int:
        return self.settings.machine.seed

    def build(self, norm: Norm | None = None) -> Poolable:
        """The network with fresh weights from torch's generator, on the CPU."""
        spec = net_spec(self.settings, len(self.images.class_names))
        return build(spec) if norm is None else build(spec, norm)

    @cached_property
    def costs(self) -> CostTable:
        """MACs of every block."""
        return _costs(self.settings, len(self.images.class_names), self.image_size)

    @cached_property
    def macs_A(self) -> NDArray[np.int64]:
        """MACs of every placement of the space."""
        return macs_of(self.costs, self.space)

    def loader(self, indices: NDArray[np.int64], batch: int, purpose: str, seed: int, augmented: bool) -> Loader:
        """Minibatches of these images, normalised by the statistics of the training images."""
        augment = _augment(self.settings, self.image_size, self.images.flippable) if augmented else "none"
        mean_C, std_C = self._statistics
        return Loader(
            self.images, indices, batch, seed, purpose, self.machine.device, self.image_size, augment, mean_C, std_C
        )

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return mean_std(self.images.pixels_NHWC, self.split.search_train)

    def warn(self, text: str) -> None:
        """Tell the user, and the report."""
        self.progress.say(f"warning: {text}")
        record = read_json(self.dir.run)
        if text not in record["warnings"]:
            record["warnings"].append(text)
            write_json(self.dir.run, record)

    @contextmanager
    def stage(self, name: str) -> Generator[StageEntry]:
        """Record that a stage began, and when it ended."""
        entry = StageEntry()
        began = datetime.now(timezone.utc)
        place = len(read_json(self.dir.run)["stages"])
        self._write_stage(place, name, began, None, entry)
        yield entry
        self._write_stage(place, name, began, datetime.now(timezone.utc), entry)

    def _write_stage(self, place: int, name: str, began: datetime, ended: datetime | None, entry: StageEntry) -> None:
        record = read_json(self.dir.run)
        record["stages"][place:] = [
            {
                "stage": name,
                "started": began.isoformat(timespec="seconds"),
                "ended": ended and ended.isoformat(timespec="seconds"),
                "seconds": ended and round((ended - began).total_seconds(), 1),
                "resumed_at_step": entry.resumed_at_step,
            }
        ]
        write_json(self.dir.run, record)


@dataclass
class StageEntry:
    """What a stage adds to its entry in run.json."""

    resumed_at_step: int | None = None


@contextmanager
def open_run(out: Path, settings: Settings | None, resume: bool, progress: Progress) -> Generator[Run]:
    """Open ``out`` for this process alone: a new run with ``settings``, or with ``resume`` the one that is there.

    Args:
        out: the run directory.
        settings: as the user gave them; None takes those of the run that is there.
        resume: go on with the run in ``out``.
        progress: where work shows itself.

    Raises:
        PoolsearchError: the folder is in use, not empty, or belongs to other settings; the data, the network and the
            settings do not fit each other, or the data changed since.
    """
    run_dir = RunDir(out)
    if resume and not run_dir.run.exists():
        raise PoolsearchError(
            f"nothing to resume in {out}: it holds no run (no run.json). Begin one: poolsearch run --out {out}"
        )
    _check_free(run_dir, resume)
    if settings is not None:
        check(settings)
    with locked(out):
        given = _merge(run_dir, settings) if resume else settings or Settings()
        if not resume:
            write_json(
                run_dir.run,
                {"poolsearch": version("poolsearch"), "given": given.to_dict(), "stages": [], "warnings": []},
            )
        try:
            opened = _open(run_dir, given, progress)
        except PoolsearchError:
            if not resume:
                run_dir.run.unlink(missing_ok=True)  # a run that could not begin must not stand in the way of the next
            raise
        yield opened


def _check_free(run_dir: RunDir, resume: bool) -> None:
    if resume or not run_dir.root.exists():
        return
    if not run_dir.root.is_dir():
        raise PoolsearchError(f"{run_dir.root} is a file. Choose a folder with --out.")
    if run_dir.run.exists():
        raise PoolsearchError(
            f"{run_dir.root} holds a run already. Go on with it by --resume, or choose another --out."
        )
    if any(not p.name.startswith(".") for p in run_dir.root.iterdir()):
        raise PoolsearchError(f"the folder {run_dir.root} is not empty. Choose a new or empty one with --out.")


def saved_settings(out: Path) -> Settings:
    """The settings that the run in ``out`` was given.

    Raises:
        PoolsearchError: there is no run, or its run.json is damaged.
    """
    return Settings.from_dict(read_json(RunDir(out).run)["given"])


def _merge(run_dir: RunDir, settings: Settings | None) -> Settings:
    """The saved settings, with changes only where nothing rests on them yet."""
    saved = saved_settings(run_dir.root)
    changes = differences(saved, settings) if settings is not None else []
    refused = [change for change in changes if _in_use(run_dir, change[0], change[1])]
    if refused:
        named = "; ".join(f"--{name.replace('_', '-')} was {old!r}, now {new!r}" for _, name, old, new in refused)
        raise PoolsearchError(
            f"{run_dir.root} was made with other settings: {named}. Resume "
            "without these flags, or start a new run with --out."
        )
    if settings is None or not changes:
        return saved
    record = read_json(run_dir.run)
    write_json(run_dir.run, record | {"given": settings.to_dict()})
    return settings


def _in_use(run_dir: RunDir, group: str, name: str) -> bool:
    if name in _FREE:
        return False
    return group not in _IN_USE_WHEN or (run_dir.root / _IN_USE_WHEN[group]).exists()


def _open(run_dir: RunDir, given: Settings, progress: Progress) -> Run:
    images = _images(given, progress)
    split = make_split(images.label_N, images.part_N, given.machine.seed)
    if given.data.subset is not None:
        split = shrink(split, images.label_N, given.data.subset, given.machine.seed)
    settings = resolve(given, len(split.search_train), len(split.search_val))
    record = read_json(run_dir.run)
    machine = pick_machine(_machine_settings(settings.machine, record))
    image_size = _image_size(settings, images)
    space, full_size = _space(settings, len(images.class_names), image_size)
    settings = replace(
        settings, machine=replace(settings.machine, device=machine.device.type, precision=machine.precision)
    )
    run = Run(run_dir, settings, images, split, space, full_size, image_size, machine, progress)
    _check_sizes(run)
    _record(run, record)
    if images.skipped:
        run.warn(f"{len(images.skipped)} files could not be used and were left out: see skipped.json.")
    if space.size < full_size and not settings.net.placements:
        run.warn(
            f"the space has {full_size:,} placements; the search covers a uniform random subset of {space.size:,}."
        )
    return run


def _images(given: Settings, progress: Progress) -> Images:
    cache = Path(given.data.cache_dir) if given.data.cache_dir else default_cache_dir()
    size = given.data.image_size
    # Random resized crops cut from a somewhat larger picture, as 224 is cut from 256
    store = None if size is None else size if size <= _LARGEST_NATIVE else round(size * 256 / 224)
    return open_images(find_source(given.data.data, cache / "torchvision"), store, cache, progress)


def _image_size(settings: Settings, images: Images) -> int:
    stored = min(images.pixels_NHWC.shape[1:3])
    return settings.data.image_size or (stored if stored <= _LARGEST_NATIVE else 224)


def _augment(settings: Settings, image_size: int, flippable: bool) -> Augment:
    if settings.data.augment != "auto":
        return settings.data.augment
    if image_size > _LARGEST_NATIVE:
        return "resized-crop-flip"
    return "crop-flip" if flippable else "crop"


def _machine_settings(asked: MachineSettings, record: dict[str, Any]) -> MachineSettings:
    """A resumed run keeps the device and precision it began with, so that it ends the same."""
    before = record.get("settings", {}).get("machine")
    return asked if before is None else replace(asked, device=before["device"], precision=before["precision"])


def net_spec(settings: Settings, classes: int) -> NetSpec:
    """The network that the settings describe."""
    net = settings.net
    return NetSpec(net.net, classes, net.width, net.op, net.zero_init)


def _meta_net(settings: Settings, classes: int) -> Poolable:
    with torch.device("meta"):
        return build(net_spec(settings, classes))


def _costs(settings: Settings, classes: int, image_size: int) -> CostTable:
    return cost_table(_meta_net(settings, classes), image_size, image_size)


def _space(settings: Settings, classes: int, image_size: int) -> tuple[Space, int]:
    """The placements to search, and how many there are before a too large space is cut down."""
    net = _meta_net(settings, classes)
    space = replace(net.space, low=settings.net.min_blocks, high=settings.net.max_blocks)
    _, _, height, width = net.stem(torch.zeros(1, 3, image_size, image_size, device="meta")).shape
    check_input(height, width, space.poolings)
    if settings.net.placements:
        space = space.keep(Placement.parse(text) for text in settings.net.placements)
    return space.subset(settings.net.max_placements, settings.machine.seed), space.size


def _check_sizes(run: Run) -> None:
    members = run.settings.search.members
    if members > run.space.size:
        raise PoolsearchError(
            f"--members {members} is more than the {run.space.size} placements of the space: each member needs "
            "at least one."
        )


def _record(run: Run, record: dict[str, Any]) -> None:
    """Write what the run rests on, or see that it is still the same."""
    data = {
        "name": run.images.name,
        "fingerprint": run.images.fingerprint,
        "class_names": list(run.images.class_names),
        "image_size": run.image_size,
        "images": {part: len(getattr(run.split, part)) for part in ("search_train", "search_val", "test")},
        "skipped": len(run.images.skipped),
    }
    if (
        record.get("data", data)["fingerprint"] != data["fingerprint"]
        or record.get("split_hash", run.split.hash) != run.split.hash
    ):
        raise PoolsearchError(
            f"the images of {run.images.name} changed since {run.dir.root} was begun. Start a new run with --out."
        )
    space = {
        "net": run.settings.net.net,
        "length": run.space.length,
        "poolings": run.space.poolings,
        "default": str(run.space.default),
        "size": run.full_size,
        "covered": run.space.size,
    }
    versions = {"python": platform.python_version()} | {
        name: version(name) for name in ("torch", "torchvision", "numpy")
    }
    write_json(run.dir.run, record | {
        "settings": run.settings.to_dict(), "versions": versions, "hardware": run.machine.describe(), "seed": run.seed,
        "data": data, "space": space, "split_hash": run.split.hash,
    })  # fmt: skip
    write_json(run.dir.split, run.split.to_json())
    write_json(run.dir.skipped, run.images.skipped)
    _write_costs(run)


def _write_costs(run: Run) -> None:
    table = pa.table({
        "number": np.arange(run.space.size), "placement": [str(p) for p in run.space], "macs": run.macs_A,
    })  # fmt: skip
    with atomic(run.dir.costs) as temporary:
        pq.write_table(table, temporary)


@contextmanager
def seeded(seed: int, purpose: str, *index: int) -> Generator[None]:
    """Draw torch's random numbers from a key inside the block, and leave the generator as it was after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(seed, purpose, *index))
        yield
