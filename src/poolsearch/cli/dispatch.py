"""Do what a command says and print what came of it. Imports torch only where there is work to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from poolsearch.cli.commands import (
    Bench,
    Check,
    Command,
    Compare,
    Costs,
    Export,
    Plan,
    Rank,
    Recipe,
    Report,
    Retrain,
    Run,
    Search,
)
from poolsearch.cli.commands.inspect_commands import PlanResult
from poolsearch.cli.commands.research_commands import RecipeFolder
from poolsearch.cli.commands.run_commands import Begin, GoOn
from poolsearch.progress import ConsoleProgress, SilentProgress
from poolsearch.session.trusted import Trust
from poolsearch.settings.check import check
from poolsearch.settings.config_file import read_config
from poolsearch.settings.methods import kind_of
from poolsearch.settings.settings import DECLARED
from poolsearch.storage.files import write_json
from poolsearch.storage.run_record import option_words
from poolsearch.texts import shell


def perform(command: Command, typed: Collection[str] = ()) -> int:
    """Do it; gives the exit code.

    Args:
        command: what to do; where it goes on with a folder, with that folder's settings.
        typed: the words that the user typed: only Python files that they name themselves are theirs.

    Raises:
        PoolsearchError: a mistake in what was asked for.
        Interrupted: stopped on request; everything is saved.
    """
    if isinstance(command, Plan):
        return _plan(command, typed)
    if isinstance(command, Recipe):
        return _recipe(command, typed)
    if isinstance(command, (Check, Costs)):
        return _look(command)
    if isinstance(command, Compare):
        return _compare(command, typed)
    if isinstance(command, Bench):
        return _bench(command)
    return _do(command, typed)


def _do(command: Run | Search | Rank | Retrain | Report | Export, typed: Collection[str]) -> int:
    if not isinstance(command, (Report, Export)):
        check(command.settings)  # before torch is imported, which takes a while
    from poolsearch import pipeline
    from poolsearch.cli import process
    from poolsearch.reports.terminal import show, show_export, show_joined

    out = command.where.out
    assert out is not None
    process.limit_threads()
    process.keep_memory()
    progress = SilentProgress() if command.where.quiet else ConsoleProgress()
    progress.say(f"Run folder: {out}")
    match command:
        case Run():
            trust = _trust(command.where, typed)
            pipeline.run(out, command.settings, command.where.resume, progress, trust, _kept(command.where, typed))
        case Search():
            trust, where = _trust(command.where, typed), command.where
            pipeline.search(out, command.settings, where.resume, progress, where.join, trust, _kept(where, typed))
            if command.where.join:
                show_joined(out)
                return 0
        case Rank():
            pipeline.rank(out, command.settings, progress, _trust(command.where, typed))
        case Retrain():
            pipeline.retrain(out, command.settings, progress, _trust(command.where, typed))
        case Report():
            pipeline.report(out, command.truth)
        case Export():
            trust = _trust(command.where, typed)
            folder = pipeline.export(out, command.placement, command.seed, progress, trust)
            show_export(folder)
            return 0
    show(out)
    return 0


def _trust(where: GoOn | RecipeFolder | PlanResult, typed: Collection[str]) -> Trust:
    """What the user named: all settings of a command may have been filled up from a folder."""
    return Trust(where.trust, frozenset(typed))


def _kept(where: Begin | PlanResult, typed: Collection[str]) -> frozenset[str]:
    """The settings that the user gave, by name: typed, or in the file of --config."""
    in_file = read_config(where.config) if where.config is not None else ()
    return frozenset({*in_file, *(name for name, one in DECLARED.items() if one.flag in typed)})


def _compare(command: Compare, typed: Collection[str]) -> int:
    from poolsearch.cli import process
    from poolsearch.research.compare.compare import compare
    from poolsearch.research.reports.comparison import show_comparison

    out = command.where.out
    assert out is not None
    process.limit_threads()
    process.keep_memory()
    progress = SilentProgress() if command.where.quiet else ConsoleProgress()
    progress.say(f"Folder: {out}")
    trust = _trust(command.where, typed)
    compare(out, command.compare, command.settings, command.where.resume, progress, command.where.so_far, trust)
    show_comparison(out)
    return 0


def _look(command: Check | Costs) -> int:
    """The commands that look at a network alone."""
    from poolsearch import pipeline
    from poolsearch.cli import process
    from poolsearch.reports.terminal import show_check, show_costs

    process.limit_threads()
    left_out = ("net", "quiet", "settings")
    options = {f.name: getattr(command, f.name) for f in dataclasses.fields(command) if f.name not in left_out}
    progress = SilentProgress() if command.quiet else ConsoleProgress()
    if isinstance(command, Costs):
        show_costs(pipeline.costs(command.net, **options, budget=command.settings.budget, progress=progress))
        return 0
    found = pipeline.check(command.net, **options, progress=progress)
    show_check(found)
    return 0 if found.holds else 1


def _plan(command: Plan, typed: Collection[str]) -> int:
    settings = command.settings
    kind_of(settings.search.method)
    check(settings.changed(method="auto"))  # before torch is imported; whatever a method makes use of may be given
    from poolsearch import pipeline
    from poolsearch.cli import process
    from poolsearch.reports.terminal import show_plan

    process.limit_threads()
    process.keep_memory()
    progress = SilentProgress() if command.result.quiet else ConsoleProgress()
    found = pipeline.plan(settings, progress, _trust(command.result, typed), _kept(command.result, typed))
    if command.result.json is not None:
        write_json(command.result.json, found.to_dict())
    show_plan(found)
    return 0


def _recipe(command: Recipe, typed: Collection[str]) -> int:
    from poolsearch.cli import process
    from poolsearch.reports.terminal import show_recipe
    from poolsearch.research.recipes import RECIPES

    process.limit_threads()
    process.keep_memory()
    progress = SilentProgress() if command.folder.quiet else ConsoleProgress()
    recipe = RECIPES[command.name]
    progress.say(f"{recipe.text}. Folder: {command.out}")
    trust = _trust(command.folder, typed)
    made = recipe.make(command.out, command.options, command.folder.resume, progress, trust)
    show_recipe(made.sentences, made.page)
    return 0


def _bench(command: Bench) -> int:
    from poolsearch.research.bench import Bandit, compare_samplers, ground_truth, parse_sampler
    from poolsearch.research.reports.bench import check_page, show_bench, write_bench

    out = (command.out or Path("runs") / f"bench-{Path(command.table).resolve().name}").expanduser()
    check_page(out, len(command.methods))
    bandit = Bandit.of(ground_truth(command.table), command.noise, command.score_images, command.rise)
    entrants = [parse_sampler(name) for name in command.methods]
    progress = SilentProgress() if command.quiet else ConsoleProgress()
    found = compare_samplers(bandit, entrants, command.seeds, command.draws, command.seed, progress)
    words = ["poolsearch", "bench", command.table]
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if field.name not in ("table", "out", "quiet") and value != field.default:
            words += option_words(field.name, value)
    page = write_bench(out, found, shell(words))
    show_bench(found)
    progress.say(f"Page: {page}")
    return 0
