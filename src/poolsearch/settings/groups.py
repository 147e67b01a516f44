"""What a user can set, in groups, as the command line shows it. Imports no torch: it must answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import tyro

LARGEST_NATIVE = 64
"""Images up to this side are small: kept as they are, shifted instead of cropped, for networks with a small stem."""


T = TypeVar("T")


Auto = Annotated[T | None, tyro.conf.arg(help_behavior_hint="")]  # the help text itself says what None becomes
"""A setting that is left to us when it is None."""


Augment = Literal["auto", "none", "crop", "crop-flip", "resized-crop-flip"]


Control = Literal["macs", "random", "input-size"]


Metric = Literal["accuracy", "balanced-accuracy", "macro-f1"]


@dataclass(frozen=True)
class DataSettings:
    """Images to learn from."""

    data: str = "digits"
    """'digits' (built in), a torchvision data set (cifar10, food101, ...), a folder of class folders, a folder of
    Hugging Face parquet files, or an .npz file."""
    subset: Auto[int] = None
    """Use only this many training images (stratified); the test split stays whole. Default: all."""
    groups: Auto[str] = None
    """A CSV file with the columns file,group (or index,group): images of one group (a patient, a product) are kept
    together in every division of the images. Default: each image by itself."""
    metric: Metric = "accuracy"
    """What placements are scored, ranked and tested by. balanced-accuracy: the mean recall of the classes. macro-f1:
    the mean of their F1. Both count every class alike, for classes of very different sizes."""
    image_size: Auto[int] = None
    """Height and width the network sees. Default: the images' own when all are equal and at most 64, else 224."""
    augment: Augment = "auto"
    """auto: crop-flip up to 64 pixels (crop where a mirrored image means something else, as a digit), else
    resized-crop-flip."""
    cache_dir: Auto[str] = None
    """Where decoded images are kept. Default: the user's cache folder."""


@dataclass(frozen=True)
class NetSettings:
    """The network whose downsampling is searched."""

    net: Auto[str] = None
    """cifar-resnet20|32|44|56|110|18|34|50|101 (3x3 stem, searched over), resnet18|34|50|101 (ImageNet stem, fixed),
    timm:NAME, torchvision:NAME, or FILE.py:FACTORY for a function of yours that takes the number of classes and gives
    a torch.nn.Module. Default: cifar-resnet20 for images up to 64 pixels, else resnet18."""
    width: Auto[int] = None
    """Channels of the first stage. Default: 16 for cifar-resnet20 to 110, else 64."""
    op: Auto[Literal["max", "avg", "blur", "stride", "native"]] = None
    """How a site downsamples. Default: max for cifar-resnet20 to 110 (paper, B.2), stride for our other networks,
    native (its own strided form, moved) for all others."""
    init: Auto[str] = None
    """Weights that the search and the retraining begin with: a .safetensors or .pth file of this network (a last layer
    for other classes is replaced), or 'pretrained' for those of timm or torchvision. Default: none, fresh weights."""
    search_stem: bool = False
    """Move the downsampling of the stem, too, where the network is not ours."""
    axes: Literal["hw", "h,w"] = "hw"
    """hw: a site halves height and width together. h,w: each by itself, for text lines or spectrograms; the size of the
    space is squared."""
    paths: Literal["restricted", "any"] = "restricted"
    """restricted: as many halvings as the network itself, nothing in between. any: every block but the first at any of
    the network's resolutions, with upsampling where a block is at a higher one than the block before."""
    zero_init: bool = False
    """Start the residual branches of stand-alone networks at zero."""
    placements: Annotated[tuple[str, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """Search only these placements, such as --placements 4,3,3 5,3,2 (with --axes h,w also 'h 4,3,3 w 3,4,3').
    Default: the whole space."""
    min_blocks: Annotated[tuple[int, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """Least number of blocks at each resolution, such as 2 1 1; with --axes h,w along each axis."""
    max_blocks: Annotated[tuple[int, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """Most blocks at each resolution; with --axes h,w along each axis."""
    max_placements: int = 20_000
    """Larger spaces are searched on a seeded uniform subset of this size; the report says so."""


@dataclass(frozen=True)
class BudgetSettings:
    """What a placement may cost to be searched; amounts with x are times what the network's own placement needs."""

    max_macs: Auto[str] = None
    """Most multiply-adds of a forward pass on one image: 1.0x, 800M, 4G. Default: no limit."""
    max_memory: Auto[str] = None
    """Most memory of a training step at --batch, beside the weights: 1.0x, 500MB, 2GB. Default: no limit."""
    max_latency: Auto[str] = None
    """Longest forward pass, measured before the search: 1.2x, 5ms. Default: no limit."""
    latency_device: Auto[Literal["auto", "cpu", "cuda", "mps"]] = None
    """Where latency is measured; auto: as the run. Default: auto with --max-latency, else not measured."""
    latency_batch: int = 1
    """Images of a forward pass whose latency is measured."""


@dataclass(frozen=True)
class SearchSettings:
    """Training of the supernets."""

    method: str = "mixture"
    """mixture: the balanced mixture of supernets. One supernet, and placements drawn uniformly (spos: single-path
    one-shot), by Boltzmann exploration (bse), by Monte-Carlo tree search (mcts), or by a sampler of your own
    (FILE.py:FACTORY). darts, gaea: one supernet that works at all resolutions at once, weighted; what it finds may
    need upsampling. Without a supernet: sweep, every placement trained alone; proxy, the same but short, with fewer
    channels and images; halving, all for a short time, and the best of them on and on; random, a few random ones
    trained alone; hyperband, several halvings of random ones, from shorter and longer starts; macs, the one with the
    most MACs, and nothing is trained to find it. auto: what 'poolsearch plan' advises."""
    hours: Auto[float] = None
    """Hours that the whole job may take, for --method auto and 'poolsearch plan'. Default: 1.5 times the mixture's."""
    preset: Literal["paper", "official", "robust"] = "paper"
    """paper: the published text. official: as the authors' release where the two differ, for comparisons. robust: the
    text, but a GPU is not waited for in every step (--score-lag)."""
    members: int = 4
    """M, the supernets of the mixture."""
    epochs: Auto[int] = None
    """Epochs per member: the search takes epochs x members in all. Default: 75 (40 for digits), with --init 10."""
    batch: Auto[int] = None
    """Images per minibatch. Default: 256, or less when the half has fewer than 16 such batches."""
    lr: Auto[float] = None
    """Learning rate at the start. Default: 0.1, with --init 0.01, for 128 images and more, else in proportion."""
    lr_floor: Auto[float] = None
    """Learning rate at the end of the cosine. Default: 0.001, with --init a hundredth of --lr."""
    lr_every: Auto[Literal["step", "epoch"]] = None
    """When the learning rate falls, in the search and in every other training. Default: at every step, with preset
    official at every epoch, so that the last epoch of a short training still runs at a high one."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: Auto[float] = None
    """Default: 1e-3, with --init 1e-4."""
    beta: float = 0.9
    """Weight of the past in a score."""
    score_init: float | Literal["first"] = 1.0
    """Score of a placement and member never scored; 1 is optimistic, and weighs --beta to the power of the scores
    since. 'first': it counts as the mean of all that were scored, and takes its first score whole."""
    schedule: Literal["inverse-linear", "tau-linear", "cosine", "exp"] = "inverse-linear"
    """How 1/temperature grows from 1; tau-linear is the paper's literal text (members specialise only at the end)."""
    inv_temp_end: Auto[float] = None
    """1/temperature at the end. Default: 100 x members."""
    balance_every: Auto[Literal["step", "epoch"]] = None
    """When the assignment is balanced anew. Default: step."""
    score: Literal["accuracy", "advantage"] = "accuracy"
    """advantage: accuracy minus its running mean, so that an old score is not low only for being old."""
    explore: float = 0.0
    """Probability of drawing the member uniformly instead of by the assignment; with 1 every member trains every
    placement, and scores only say which one stands for it in the ranking."""
    refresh: int = 0
    """Every so many steps, score (without training) the pair that was not scored for the longest time; 0 is never."""
    val_batch: Auto[int] = None
    """Images of the validation minibatch after each step. Default: as --batch."""
    val_every: int = 1
    """Score only every so many steps."""
    score_lag: Auto[int] = None
    """Steps until a score is read from the device; 0 waits for it in every step. Default: 0, with preset robust 8."""
    placements_per_step: int = 1
    """Train so many placements of one member on each minibatch, with shared work, and score them all."""
    sharing: Literal["shared", "same-init", "random-init"] = "shared"
    """shared: a block has the same weights at every resolution. Else it has weights of its own for each, which begin
    alike (same-init) or each by itself (random-init)."""
    warm_up: float = 0.0
    """Part of the search, from its start, in which bse and mcts draw uniformly."""
    ucb_c: float = 2**0.5
    """Weight of exploration in mcts; the default is that of UCB1."""
    ucb_pick: Literal["max", "softmax"] = "max"
    """How mcts goes down its tree: to the child of the highest upper confidence bound, or in proportion to its
    exponential."""
    ucb_reward: Literal["raw", "advantage"] = "raw"
    """What mcts averages. raw: the scores themselves, as the paper. advantage: each score less the running mean of all
    (--beta): while the whole supernet learns, a branch is otherwise better for being visited late."""
    ucb_prior: Literal["none", "leaves"] = "none"
    """Exploration in mcts. none: c sqrt(log N / n), alike for all branches, as the paper. leaves: c P sqrt(N) / (1 + n)
    with P, the branch's part of the placements (PUCT), so that it is even over placements; with --ucb-reward advantage
    try --ucb-c 0.2 to 0.5."""
    ucb_warm_up: Literal["keep", "forget"] = "keep"
    """What mcts does with the visits and rewards of its warm-up when that ends; with raw rewards, which rise, forget is
    better."""
    norm: Literal["batch", "calibrate", "per_placement"] = "batch"
    """BatchNorm of the supernets: by the batch at hand; calibrate collects statistics before ranking; per_placement
    keeps running statistics for each prefix of a placement."""


@dataclass(frozen=True)
class RelaxedSettings:
    """How darts and gaea learn the weights of the resolutions: a step of theirs after each of the supernet's."""

    arch_order: Literal[1, 2] = 1
    """1: the supernet's weights are held. 2: the step that they would make next is looked through, too."""
    arch_optimizer: Literal["adam", "sgd"] = "adam"
    """Of darts; gaea has its own (exponentiated gradient)."""
    arch_lr: Auto[float] = None
    """Its learning rate. Default: 0.01 for adam, 0.1 for sgd and gaea."""


@dataclass(frozen=True)
class AloneSettings:
    """Ranking by trainings of placements, without a supernet: --method sweep, proxy, halving, random,
    hyperband."""

    sweep_epochs: Auto[int] = None
    """Length of a whole training in sweep, halving, random and hyperband. Default: as --retrain-epochs."""
    sweep_seeds: int = 1
    """Trainings of each placement in a sweep."""
    sweep_mode: Literal["search", "benchmark"] = "search"
    """search: learn from search-train, compare on search-val. benchmark, for research only: learn from all training
    images, compare on test; there is no winner, no retraining and no verdict then."""
    proxy_width: Auto[float] = None
    """Part of the channels in a proxy. Default: 0.5 for our own networks; with --init and for all others 1."""
    proxy_images: Auto[int] = None
    """Training images of a proxy (stratified). Default: two fifths of the half, but enough for 16 batches."""
    proxy_epochs: Auto[int] = None
    """Default: an eighth of --retrain-epochs, at least 2."""
    halving_rate: int = 3
    """The best 1/rate of a rung of halving and hyperband go on, rate times as long."""
    halving_start: Auto[int] = None
    """Epochs of the first rung; of hyperband the least that it may have. Default: as many as leave at least
    --halving-rate placements in the last; 1 for hyperband."""
    random_k: int = 8
    """How many random placements --method random trains; all of them where the space has fewer."""


@dataclass(frozen=True)
class RankSettings:
    """Evaluation of the placements on the whole search-val half."""

    rank_members: Auto[Literal["assignment", "best", "mean"]] = None
    """assignment (default): each placement by its most probable member. best: by all members, keeping the best. mean:
    by the mean of all members, which are trained apart and end at different levels; takes as long as best."""
    rank_all_up_to: int = 100
    """Spaces up to this size are ranked whole; of larger ones the best by score and a control group."""
    rank_top: int = 50
    """In larger spaces: how many of the best by score."""
    rank_control: int = 50
    """Random placements evaluated beside the best by score, as a control."""
    rank_early_stop: bool = False
    """Stop placements as soon as they are behind the first --top-k beyond chance (error probability 1 %); meant for
    --rank-all-up-to 5000 and the like."""
    rank_memory: Auto[float] = None
    """GB of memory for the ranking: the default of --eval-batch is halved until it fits. Default: half of what is
    free."""
    eval_batch: Auto[int] = None
    """Images per evaluation batch. Default: 512 up to 64 pixels, else 64; less where memory is short."""


@dataclass(frozen=True)
class RetrainSettings:
    """Stand-alone training of the best placements and the default, on all training images."""

    top_k: int = 3
    """How many of the ranking are trained beside the default."""
    answer_at: tuple[float, ...] = (1.0, 1.5)
    """Answers within so many times the default's MACs, beside the one without a limit: the first of the ranking within
    each is trained, too. --answer-at alone: only the one without a limit."""
    control: tuple[Control, ...] = ("macs", "random")
    """Trained to compare the winner with. macs: the placement that has the most MACs. random: another random placement
    for every seed. input-size: the default on larger images, at the winner's MACs. --control alone: none."""
    retrain_seeds: int = 3
    """Trainings of each; the verdict needs at least two."""
    retrain_epochs: Auto[int] = None
    """Default: 200 (12 for digits), with --init 20 (12 for digits)."""
    retrain_batch: Auto[int] = None
    """Default: as the search."""
    retrain_lr: Auto[float] = None
    """Default: as the search."""
    retrain_weight_decay: Auto[float] = None
    """Default: as the search."""


@dataclass(frozen=True)
class MachineSettings:
    """Where and how it runs."""

    seed: int = 0
    """Of everything random: split, weights, order of images, draws."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the hardware is faster with it (on a CPU this is timed), else fp32."""
    compile: Auto[str] = None
    """Compile the blocks with this backend of torch.compile, such as inductor: worth a try on a GPU, slower on CPUs.
    Default: none."""
    deterministic: bool = False
    """Only deterministic kernels: a GPU run then repeats to the bit, at some cost."""
    checkpoint_seconds: float = 120.0
    """Time between checkpoints."""
    workers: Auto[int] = None
    """Retrainings at once, each in a process of its own. Default: on a CPU one per core for images up to 64 pixels,
    else 1; with several CUDA cards one per card. More than 1 share a card where there are fewer cards."""


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, and with what."""

    methods: tuple[str, ...] = ("mixture", "spos", "random", "proxy")
    """Values of --method, each with settings of its own where it needs them: mixture:members=8 bse:warm-up=0.5. A value
    of several parts has a plus between them."""
    seeds: int = 3
    """Runs of each method; each has its own split of the training images, its own weights and draws."""
    total_epochs: Auto[int] = None
    """Compare methods with supernets at equal total training, too: each also gets as many epochs as are as much work
    (multiply-adds, with the scores that it makes use of) as those of a single supernet. Default: only at their own
    --epochs x members."""
    truth: str = "picks"
    """What is known of placements trained stand-alone on all training images, by the test split. picks: those that a
    method finds, and a few to compare with, are trained (--sweep-epochs, --sweep-seeds). all: every placement, so that
    whole rankings can be judged. Or the folder of a sweep in benchmark mode that has ended, or 'table6'."""


RecipeName = Literal["figure1", "figure3", "table1", "table2"]
"""The recipes, as :data:`poolsearch.research.recipes.RECIPES` has them."""


@dataclass(frozen=True)
class RecipeOptions:
    """What may be changed in a recipe; all else is as in the paper."""

    scale: Auto[Literal["mini", "full"]] = None
    """mini: on the built-in digits with a narrow network, a minute or two. full: the paper's data, network and number
    of epochs, for a GPU. Default: mini."""
    data: Auto[str] = None
    """Other images, as in 'poolsearch run'. Default: digits for mini, cifar10 for full."""
    subset: Auto[int] = None
    """Use only this many training images (stratified). Default: all."""
    net: Auto[str] = None
    """Another network, as in 'poolsearch run'. Default: cifar-resnet20."""
    width: Auto[int] = None
    """Channels of the first stage. Default: 8 for mini (4 in comparisons), the network's own for full."""
    epochs: Auto[int] = None
    """Length of a search, for each of its supernets. Default: 10 for mini (2 in comparisons), 75 for full."""
    batch: Auto[int] = None
    """Images per minibatch. Default: 64 for mini, 256 for full."""
    seeds: Auto[int] = None
    """How often each search is made, each time with other halves, weights and draws. Default: 3 (2 for mini
    comparisons)."""
    early: Auto[str] = None
    """Of figure1: the placement that pools early, such as 1,1,8. Default: the first of the space, each halving as
    early as can be."""
    late: Auto[str] = None
    """Of figure1: the placement that pools late, such as 8,1,1. Default: the last of the space, each halving as late
    as can be."""
    device: Auto[Literal["auto", "cpu", "cuda", "mps"]] = None
    """Where it runs. Default: auto, which is cuda, else mps, else cpu."""
    precision: Auto[Literal["fp32", "bf16", "fp16"]] = None
    """Number format of all searches. Default: bf16 where the machine is faster with it, else fp32; found out once, so
    that every search has the same."""
