"""The folder of a recipe: begun once with its options, gone on with by them."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.session.prepare import absolute
from poolsearch.settings import Settings
from poolsearch.settings.groups import MachineSettings
from poolsearch.settings.research_groups import RecipeName, RecipeOptions
from poolsearch.storage.files import read_json, write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import changed_text, check_free
from poolsearch.texts import command
from poolsearch.train.machine import pick_machine


@dataclasses.dataclass(frozen=True)
class RecipeResult:
    """What a recipe leaves: its page, and what came out in sentences."""

    page: Path
    sentences: list[str]


def options_of(out: Path, name: RecipeName, given: RecipeOptions, resume: bool) -> RecipeOptions:
    """What the recipe in ``out`` is made with: as given for a new one, as it was begun with when it is resumed.

    Args:
        out: the folder of the recipe.
        name: of the recipe.
        given: by the user now; None of an option: not given.
        resume: go on with what is in ``out``.

    Returns:
        ``given`` for a new recipe, else the options that were saved.

    Raises:
        PoolsearchError: the folder is not free, or there is nothing in it to resume, or it was begun otherwise.
    """
    record = RunDir(out).recipe
    if not resume:
        if record.exists():
            raise PoolsearchError(f"{out} holds a recipe already. Go on with it by --resume, or choose another --out.")
        check_free(RunDir(out))
        return given
    if not record.exists():
        raise PoolsearchError(
            f"nothing to resume in {out}: it holds no recipe. Begin one: {command('recipe', name, '--out', out)}"
        )
    saved = read_json(record)
    if saved["recipe"] != name:
        raise PoolsearchError(f"{out} holds the recipe {saved['recipe']}, not {name}. Choose another --out.")
    return _same(out, RecipeOptions(**saved["options"]), given)


def run_options(options: RecipeOptions) -> dict[str, Any]:
    """The options that are settings of every run, where they are given.

    Args:
        options: of a recipe.

    Returns:
        Values by the flat names of settings, for ``Settings.of``.
    """
    names = ("data", "subset", "net", "width", "epochs", "batch", "device", "precision")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def absolute_options(options: RecipeOptions, settings: Settings) -> RecipeOptions:
    """The options as they are kept: with whole paths, and with one number format.

    So the recipe can be resumed from anywhere; and the format, which on a CPU is timed, is the same in all trainings.

    Args:
        options: as given.
        settings: that come of them.

    Returns:
        ``options`` with data, network and precision filled in.

    Raises:
        PoolsearchError: the device is not there, or does not have the format.
    """
    asked = MachineSettings(device=options.device or "auto", precision=options.precision or "auto")
    whole = absolute(settings)
    kept = {"data": whole.data.data, "net": whole.net.net, "precision": pick_machine(asked).precision}
    return dataclasses.replace(options, **kept)


def begin_recipe(out: Path, name: RecipeName, options: RecipeOptions) -> None:
    """Keep the options, so that the recipe can be resumed without them.

    Args:
        out: the folder of the recipe.
        name: of the recipe.
        options: as :func:`absolute_options` gives them.
    """
    record = {"recipe": name, "poolsearch": version("poolsearch"), "options": dataclasses.asdict(options)}
    write_json(RunDir(out).recipe, record)


def _same(out: Path, saved: RecipeOptions, given: RecipeOptions) -> RecipeOptions:
    changed = [
        changed_text(f"--{field.name}", before, now)
        for field in dataclasses.fields(RecipeOptions)
        if (now := getattr(given, field.name)) not in (None, before := getattr(saved, field.name))
    ]
    if changed:
        raise PoolsearchError(
            f"{out} was begun with other options: {'; '.join(changed)}. Resume without them, or choose another --out."
        )
    return saved
