"""Exporting: a retrained network as plain PyTorch code, weights and ONNX, each run and compared before it is kept."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from poolsearch.data.augment import central_part
from poolsearch.errors import PoolsearchError
from poolsearch.exporting.builtin_code import builtin_code
from poolsearch.exporting.check import ONNX_PACKAGES, ExportCheck, missing_packages, run_exported
from poolsearch.exporting.library_code import check_patchable, library_codes, original_module
from poolsearch.exporting.model_card import Feature, ModelCard, features_of, reductions, states_of
from poolsearch.exporting.readme import readme
from poolsearch.exporting.run_isolated import BATCHES
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride import Restrided
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.standalone.trial import Trial
from poolsearch.storage.disk import check_place, workspace
from poolsearch.storage.files import sha256, write_json, write_text
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import judged_looks, read_metrics, read_opening, read_ranking
from poolsearch.tasks.task import NamedTask, main_output
from poolsearch.texts import command
from poolsearch.train import checkpoint
from poolsearch.user_code import ModulePlace, file_of, neighbours_of, source_of

_GET_ONNX = "pip install 'poolsearch[onnx]'"


def export(run: Run, placement: str | None = None, seed: int = 0) -> Path:
    """Write ``export/`` of a run: the network of one retraining, so that it runs without this package.

    Args:
        run: open, with retrained networks; its folder takes the export, in place of one that is there.
        placement: one that was retrained, or "default"; None is the winner, the first of the ranking.
        seed: which of its trainings.

    Returns:
        The folder.

    Raises:
        PoolsearchError: there is no such training, or it is damaged; or what was written computes something else.
    """
    chosen, net = trained_network(run, placement, seed)
    if run.objects.network is not None:
        raise PoolsearchError(
            f"{run.net_spec.name} was given as a Python object, so there is no code of it to export. What "
            "poolsearch.open(FOLDER, net=...).network() gives can be saved by torch.save, torch.export.export and "
            "torch.onnx.export; or begin the run with net='FILE.py:FACTORY'."
        )
    if isinstance(net, Restrided):
        check_patchable(chosen)
    facts = _facts(run, chosen, seed)
    features = features_of(facts.spec, chosen)
    missing = missing_packages()
    check_place(run.dir.export)
    with workspace(run.dir.root) as unfinished:
        folder = unfinished / "export"
        folder.mkdir()
        shutil.copy(_weights(run.dir, chosen, seed), folder / "model.safetensors")
        found = _write_checked(run, folder, facts, net, features, onnx=not missing)
        _describe(run.dir, folder, facts, features, found, missing)
        shutil.rmtree(run.dir.export, ignore_errors=True)
        folder.rename(run.dir.export)
    run.progress.say(f"exported {chosen.shown}, seed {seed}: {_told(found)}")
    if missing:
        run.progress.say(f"no model.onnx: {', '.join(missing)} not installed. Get it with: {_GET_ONNX}")
    return run.dir.export


def trained_network(run: Run, placement: str | None = None, seed: int = 0) -> tuple[Placement, Poolable]:
    """A network that was retrained.

    Args:
        run: open, with retrained networks.
        placement: one that was retrained, or "default"; None is the winner, see :func:`winner_of`.
        seed: which of its trainings.

    Returns:
        Its placement, and the network with the weights of that training, on the CPU, in evaluation mode.

    Raises:
        PoolsearchError: there is no such training, or it is damaged.
    """
    if placement is None:
        chosen = winner_of(run.dir)
    else:
        chosen = run.space.default if placement == "default" else Placement.parse(placement)
    return chosen, _trained(run, chosen, seed)


def winner_of(files: RunDir) -> Placement:
    """The placement that a run is about.

    Args:
        files: of a run with a ranking.

    Returns:
        That which the verdict is about; before there is one, the first of the ranking.
    """
    looks = judged_looks(read_opening(files))
    return Placement.parse(looks[-1]["winner"] if looks else read_ranking(files)[0]["placement"])


def _weights(files: RunDir, placement: Placement, seed: int) -> Path:
    return Trial(placement, seed).folder(files.retrain) / "model.safetensors"


def _trained(run: Run, placement: Placement, seed: int) -> Poolable:
    """The network of a finished retraining, on the CPU, in evaluation mode."""
    path = _weights(run.dir, placement, seed)
    if not path.exists() or not (path.parent / "metrics.json").exists():
        there = sorted({f"{p.parents[1].name} seed {p.parent.name}" for p in run.dir.retrain.glob("*/*/metrics.json")})
        advice = f"Choose one of: {', '.join(there)}." if there else f"Run: {command('retrain', '--out', run.dir.root)}"
        raise PoolsearchError(f"{run.dir.root} has no retrained network of {placement.shown}, seed {seed}. {advice}")
    read_metrics(path.parent)
    tensors, _ = checkpoint.load(path, of=Trial(placement, seed).identity(run))
    net = run.build()
    try:
        net.original.load_state_dict(tensors)
    except RuntimeError as error:
        raise PoolsearchError(
            f"{path} does not fit {run.net_spec.name}: was the network's file changed since? ({error})"
        ) from None
    return net.eval()


def _facts(run: Run, placement: Placement, seed: int) -> ModelCard:
    (mean_C, std_C), stored = run.statistics, run.images.size
    scale = run.task.scale_K2.tolist() if isinstance(run.task, NamedTask) and run.task.scale_K2 is not None else None
    return ModelCard(
        run.net_spec, placement, seed, run.images.class_names, [float(v) for v in mean_C], [float(v) for v in std_C],
        stored, central_part(stored, run.image_size), run.dir.root.resolve().name,
        f"poolsearch {version('poolsearch')}", run.settings.data.fit or "crop", run.images.values,
        run.settings.data.task, scale and [(float(mean), float(std)) for mean, std in scale],
    )  # fmt: skip


@torch.no_grad()
def _write_checked(
    run: Run, folder: Path, facts: ModelCard, net: Poolable, features: list[Feature], onnx: bool
) -> ExportCheck:
    """Write ``model.py``, the first of the possible ones that computes what the network computes.

    Raises:
        PoolsearchError: none does.
    """
    most = max(BATCHES)
    loader = run.loader(run.split.search_val[:most], 1, "export", run.seed, augmented=False)
    images_BCHW = next(loader.chunks(most))[0].cpu().contiguous()
    logits = {size: main_output(states_of(net, images_BCHW[:size], facts.placement)[0]) for size in BATCHES}
    _, states = states_of(net, images_BCHW, facts.placement)
    if not bool(logits[most].isfinite().all()):
        raise PoolsearchError(
            f"the network of {facts.placement.shown}, seed {facts.seed}, gives logits that are no finite numbers: its "
            "training diverged. Choose another (--placement, --seed)."
        )
    problems: list[str] = []
    for code in _codes(folder, facts, net, features):
        write_text(folder / "model.py", code)
        found: ExportCheck | None = None
        while found is None:
            try:
                found = run_exported(folder, images_BCHW, logits, [_joined(state) for state in states], onnx)
            except PoolsearchError as error:
                if not _copy_data(folder, facts, str(error)):
                    problems.append(str(error))
                    break
        if found is not None and found.holds:
            return found
        if found is not None:
            problems.append(f"it differs: {_told(found)}")
    raise PoolsearchError(
        f"{facts.spec.name} at {facts.placement.shown} cannot be exported, and nothing was written: {problems[-1]}"
    )


def _codes(folder: Path, facts: ModelCard, net: Poolable, features: list[Feature]) -> Iterable[str]:
    if not isinstance(net, Restrided):
        return [builtin_code(facts, features)]
    if (file := file_of(facts.spec.name)) is not None:
        _copy_code(Path(file).expanduser(), folder, facts)
    return library_codes(facts, net, features)


def _copy_code(file: Path, folder: Path, facts: ModelCard) -> None:
    """The user's file, and what it imported from beside it.

    Raises:
        PoolsearchError: one of these has the name of a file of the export.
    """
    original = f"{original_module(facts.spec.name).replace('.', '/')}.py"
    copies = {name: path.read_bytes() for name, path in neighbours_of(file).items()}
    for name in ("model.py", original):
        if name in copies:
            raise PoolsearchError(
                f"{file} imports {name} from beside it, and a file of the export has this name. Give yours another."
            )
    for name, content in {**copies, original: source_of(file, "network", facts.spec.digest)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _copy_data(folder: Path, facts: ModelCard, problem: str) -> bool:
    """Copy the file that the exported network lacks, where it lies beside the user's file; whether there was one."""
    file, lacking = file_of(facts.spec.name), re.search(r"No such file or directory: '(.+)'", problem)
    if file is None or lacking is None:
        return False
    target, folder = Path(lacking[1]).resolve(), folder.resolve()
    if target.exists() or not target.is_relative_to(folder):
        return False
    there = ModulePlace.of(Path(file).expanduser()).root / target.relative_to(folder)
    if not there.is_file():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(there, target)
    return True


def _joined(state: Any) -> Tensor:
    """The map that a backbone gives: where several are alive, all of them as one."""
    if isinstance(state, Tensor):
        return state
    return torch.cat([v for v in cast("tuple[Any, ...]", state) if isinstance(v, Tensor) and v.dim() == 4], 1)


def _told(found: ExportCheck) -> str:
    parts = {"model.py": found.model, "its maps": found.maps, "model.onnx": found.onnx}
    told = ", ".join(f"{name} {d.logits:.2g}" for name, d in parts.items() if d is not None)
    return f"largest difference to the network's logits: {told}"


def _describe(
    files: RunDir, folder: Path, facts: ModelCard, features: list[Feature], found: ExportCheck, missing: list[str]
) -> None:
    """``README.md`` and ``export.json``."""
    looks = judged_looks(read_opening(files))
    verdict = looks[-1]["verdict"] if looks else None
    write_text(folder / "README.md", readme(facts, features, found, verdict, missing))
    paths = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    write_json(folder / "export.json", {
        "net": facts.name, "placement": str(facts.placement), "seed": facts.seed, "verdict": verdict,
        "image_size": facts.spec.size.plain, "stored": facts.stored.plain, "fit": facts.fit,
        "value_range": facts.values, "mean": facts.mean, "std": facts.std, "classes": list(facts.classes),
        **({} if facts.task == "classification" else {"task": facts.task, "scale": facts.scale}),
        "features": [
            {"channels": feature.channels, "stride": stride}
            for feature, stride in zip(features, reductions(features), strict=True)
        ],
        "differences": dataclasses.asdict(found), "versions": _versions(facts),
        "files": {name: sha256((folder / name).read_bytes()) for name in names},
    })  # fmt: skip


def _versions(facts: ModelCard) -> dict[str, str]:
    library = facts.spec.name.rpartition(":")[0]
    names = ("poolsearch", "torch", "safetensors", *([library] if library in ("timm", "torchvision") else []))
    found: dict[str, str] = {}
    for name in (*names, *ONNX_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
