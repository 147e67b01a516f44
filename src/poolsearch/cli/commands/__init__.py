"""The commands and what each can be told: with the settings, all that ``--help`` shows. May import settings only; no
torch."""

from __future__ import annotations

from poolsearch.cli.commands.inspect_commands import Check, Costs, Plan
from poolsearch.cli.commands.research_commands import Bench, Compare, Recipe
from poolsearch.cli.commands.run_commands import Export, Rank, Report, Retrain, Run, Search

DESCRIPTION = """Find where a CNN should downsample, on your data.

  poolsearch run                                          the whole job on built-in digits, some minutes
  poolsearch run --data FOLDER                            on a folder of class folders of images
  poolsearch run --data cifar10 --net cifar-resnet20      on a torchvision data set
  poolsearch run runs/NAME --resume                       go on after Ctrl-C, a crash or kill -9
  poolsearch plan --data FOLDER                           what each method would cost on this machine
  poolsearch export runs/NAME                             the network that was found, as files that stand alone
  poolsearch compare --methods mixture spos random        methods against each other, by what they find and cost
  poolsearch check timm:regnety_002                       whether the downsampling of a network can be moved
  poolsearch costs timm:regnety_002                       what its placements cost: MACs, memory, latency
  poolsearch recipe figure1                               a figure of the paper made again, small, on digits
  poolsearch bench                                        samplers compared on the paper's Table 6, in seconds

'run' is search, rank, retrain and report in turn; each is a command too. 'poolsearch run --help' shows its settings,
'poolsearch run --help-all' all of them."""


Command = Run | Search | Rank | Retrain | Report | Export | Check | Costs | Plan | Compare | Bench | Recipe

COMMANDS: dict[str, type[Command]] = {
    "run": Run, "search": Search, "rank": Rank, "retrain": Retrain, "report": Report, "export": Export,
    "check": Check, "costs": Costs, "plan": Plan, "compare": Compare, "bench": Bench, "recipe": Recipe,
}  # fmt: skip
