"""Commands that compare methods, samplers, and published experiments. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from poolsearch.cli.commands.run_commands import ALL_GROUPS, Begin
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import CompareSettings, RecipeName, RecipeOptions
from poolsearch.settings.rule import setting


@dataclass(frozen=True)
class Bench:
    """Compare samplers on a table of ground truth: nothing is trained, and 1,000 seeds take seconds.

      poolsearch bench
      poolsearch bench --methods each-once bse:score-init=first mcts:ucb-c=0.05 mine.py:make_sampler
      poolsearch bench runs/sweep --draws 200

    To ask for a placement gives one training of it: its mean in the table, and noise with its own standard deviation.
    Told is how far the placement of the best mean reward so far is below the best of the table (simple regret), after
    every number of trainings; and what was asked for in the second half. Left in the folder are regret.csv,
    report.html and figures/.
    """

    table: str = setting(
        "table6",
        "table6: the paper's, 36 placements of ResNet20 on CIFAR-10. Or the folder of a finished sweep.",
        positional="optional",
    )
    methods: tuple[str, ...] = setting(
        ("random", "each-once", "bse", "bse:warm-up=0.5", "mcts", "mcts:warm-up=0.5"),
        "Samplers, as NAME[:setting=value]... with settings of 'poolsearch run'. random: every draw uniform. "
        "each-once: in a random order. bse (beta, score-init, schedule, inv-temp-end, warm-up), mcts (ucb-c, "
        "ucb-pick, ucb-reward, ucb-prior, ucb-warm-up, beta, warm-up), or FILE.py:FACTORY for one of yours.",
    )
    seeds: int = setting(
        1000,
        "How often each sampler plays.",
    )
    draws: int = setting(
        100,
        "Trainings in one play.",
    )
    noise: float | None = setting(
        None,
        "Standard deviation of a training, as a fraction, of all placements. Default: each one's own in the table.",
    )
    score_images: int | None = setting(
        None,
        "Rewards are the part of so many random images that are right, as the score of a minibatch. Default: not.",
    )
    rise: float = setting(
        0.0,
        "How much lower, as a fraction, all rewards begin; they rise to the table's in a straight line, as the "
        "scores of all placements do while a supernet learns. What would be taken is told without it.",
    )
    seed: int = setting(
        0,
        "Of all draws and noise.",
    )
    out: Path | None = setting(
        None,
        "Folder of the page. Default: runs/bench-TABLE; an older page in it is replaced.",
    )
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )


@dataclass(frozen=True)
class RecipeFolder:
    """Where the results go."""

    run: Path | None = setting(None, "The recipe's folder, as --out.", positional="optional")
    out: Path | None = setting(
        None,
        "The recipe's folder. Default: runs/NAME.",
    )
    resume: bool = setting(
        False,
        "Go on with the recipe in --out, with its own options: what is finished is not done again.",
    )
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )
    trust: bool = setting(
        False,
        "Run the Python file that the folder names as its network though you did not name it; as in 'poolsearch run'.",
    )


@dataclass(frozen=True)
class Recipe:
    """Make a published experiment again, small or at its full size, with a page of what came out.

      poolsearch recipe figure1
      poolsearch recipe figure1 --data cifar10 --subset 10000 --epochs 8 --batch 128
      poolsearch recipe figure1 --scale full --out runs/figure1-full
      poolsearch recipe figure1 --resume

    figure1: two placements trained in one supernet against each of them trained alone; their accuracies, their feature
    maps, and how alike their representations are.
    figure3: how rankings by 1, 2, 4 and 8 supernets agree with the ground truth of all placements.
    table1, table2: the paper's methods against each other, at their own budget and at the same total training, by the
    ground truth of what they find. Full, all three train every placement alone three times: days on one GPU.
    """

    name: RecipeName = setting(
        "figure1",
        "figure1, figure3, table1 or table2.",
        positional="required",
    )
    folder: RecipeFolder = field(default_factory=RecipeFolder)
    options: RecipeOptions = field(default_factory=RecipeOptions)

    @property
    def out(self) -> Path:
        """The recipe's folder."""
        return (self.folder.run or self.folder.out or Path("runs") / self.name).expanduser()


@dataclass(frozen=True)
class BeginOrSumUp(Begin):
    """The comparison."""

    so_far: bool = setting(
        False,
        "With --resume: run and train nothing more, but write the page of what has ended so far.",
    )


@dataclass(frozen=True)
class Compare:
    """Compare methods on the same space, images and budget: what each finds, what it is worth, what it costs.

      poolsearch compare --methods mixture spos random proxy --seeds 3
      poolsearch compare --data cifar10 --methods spos mixture:members=2 mixture:members=8 --epochs 6 --total-epochs 24
      poolsearch compare --data cifar10 --methods spos bse mcts:warm-up=0.5 --truth runs/sweep
      poolsearch compare --resume --out runs/cifar10-compared --methods spos bse mixture --seeds 5
      poolsearch compare --resume --out runs/cifar10-compared --so-far        a look at it meanwhile

    Every method with every seed is a run of its own in OUT/runs/; OUT/report.html compares them by the ground truth of
    what they found. Start the same command with --resume in several terminals, or on several machines that share the
    folder, and each takes runs and trainings that no other has. With --resume, methods and seeds may be added. For
    research: the test split is read, and nothing is chosen by it.
    """

    takes: ClassVar[tuple[str, ...]] = ALL_GROUPS
    where: BeginOrSumUp = field(default_factory=BeginOrSumUp)
    compare: CompareSettings = field(default_factory=CompareSettings)
    settings: Settings = field(default_factory=Settings)
