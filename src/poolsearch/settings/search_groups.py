"""What a user can set of a method: its supernets, its sampler, its trainings. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poolsearch.settings.methods import PREDICTS, RELAXED, SAMPLED, SUPERNETS, TREE
from poolsearch.settings.rule import setting


@dataclass(frozen=True)
class SearchSettings:
    """Training of the supernets."""

    method: str = setting(
        "bayes",
        "bayes: no supernet; a few placements (--trials) are trained alone, each chosen by a model of those before. "
        "mixture (default with preset paper and official): the balanced mixture of supernets. One supernet, and "
        "placements drawn uniformly (spos: single-path one-shot), by Boltzmann exploration (bse), by Monte-Carlo tree "
        "search (mcts), or by a sampler of your own (FILE.py:FACTORY). darts, gaea: one supernet that works at all "
        "resolutions at once, weighted; what it finds may need upsampling. Further ways without a supernet: sweep, "
        "every placement trained alone; proxy, the same but short, with fewer channels and images; halving, all for a "
        "short time, and the best of them on and on; random, a few random ones trained alone; hyperband, several "
        "halvings of random ones, from shorter and longer starts; macs, the one with the most MACs, and nothing is "
        "trained to find it. auto: what 'poolsearch plan' advises.",
    )
    hours: float | None = setting(
        None,
        "Hours that the whole job may take here: epochs, trials, seeds and finalists that are not given are chosen "
        "to fit, after a few seconds of measuring ('poolsearch plan' only tells them). Default: no limit.",
        at_least=0,
        used_by=("auto", "sampled", "trials", "untrained"),
    )
    preset: Literal["robust", "paper", "official"] = setting(
        "robust",
        "robust: what finds the best placements for its work in our experiments: stand-alone trainings that a model "
        "learns from (--method bayes); with --method mixture or spos one supernet, which 5 such --trials put right. "
        "paper: the published text: four supernets, whose metric alone ranks. official: as the authors' release where "
        "the two differ, for comparisons.",
    )
    members: int | None = setting(
        None,
        "M, the supernets of the mixture. Default: 1, with preset paper and official 4.",
        at_least=1,
        used_by=SAMPLED,
        expert=True,
    )
    epochs: int | None = setting(
        None,
        "Epochs per member: the search takes epochs x members in all. Only supernets have them: where no method is "
        "given, it chooses mixture. Default: 1.5 times --retrain-epochs, divided by --members; with preset paper and "
        "official, and in methods other than mixture and spos, 75 (40 for digits), "
        "with --init 10.",
        at_least=1,
        used_by=SUPERNETS,
    )
    batch: int | None = setting(
        None,
        "Images per minibatch. Default: 256, or less when the half has fewer than 16 such batches.",
        at_least=1,
    )
    lr: float | None = setting(
        None,
        "Learning rate at the start. Default: 0.1, with --init 0.01, for 128 images and more, else in proportion.",
        at_least=0,
        at_most=100,
    )
    lr_floor: float | None = setting(
        None,
        "Learning rate at the end of the cosine. Default: 0.001, with --init a hundredth of --lr.",
        at_least=0,
        at_most=100,
        expert=True,
    )
    lr_every: Literal["step", "epoch"] | None = setting(
        None,
        "When the learning rate falls, in the search and in every other training. Default: at every step, with "
        "preset official at every epoch, so that the last epoch of a short training still runs at a high one.",
        expert=True,
    )
    momentum: float = setting(0.9, "Of SGD.", at_least=0, at_most=1, expert=True)
    weight_decay: float | None = setting(None, "Default: 1e-3, with --init 1e-4.", at_least=0, at_most=1, expert=True)
    beta: float = setting(
        0.9,
        "Weight of the past in a score.",
        at_least=0,
        at_most=0.9999,
        used_by=SAMPLED,
        expert=True,
    )
    score_init: float | Literal["first"] = setting(
        1.0,
        "Score of a placement and member never scored; 1 is optimistic, and weighs --beta to the power of the "
        "scores since. 'first': it counts as the mean of all that were scored, and takes its first score whole.",
        at_least=0,
        at_most=1,
        used_by=SAMPLED,
        expert=True,
    )
    schedule: Literal["inverse-linear", "tau-linear", "cosine", "exp"] = setting(
        "inverse-linear",
        "How 1/temperature grows from 1; tau-linear is the paper's literal text (members specialise only at the end).",
        used_by=SAMPLED,
        expert=True,
    )
    inv_temp_end: float | None = setting(
        None,
        "1/temperature at the end. Default: 100 x members.",
        at_least=1,
        at_most=1e6,
        used_by=SAMPLED,
        expert=True,
    )
    balance_every: Literal["step", "epoch"] | None = setting(
        None,
        "When the assignment is balanced anew. Default: step.",
        used_by=SAMPLED,
        expert=True,
    )
    score: Literal["accuracy", "advantage"] = setting(
        "accuracy",
        "advantage: accuracy minus its running mean, so that an old score is not low only for being old.",
        used_by=SAMPLED,
        expert=True,
    )
    explore: float = setting(
        0.0,
        "Probability of drawing the member uniformly instead of by the assignment; with 1 every member trains every "
        "placement, and scores only say which one stands for it in the ranking.",
        at_least=0,
        at_most=1,
        used_by=SAMPLED,
        expert=True,
    )
    assign: Literal["learned", "fixed"] = setting(
        "learned",
        "learned: members are assigned to placements by their scores. fixed: at random, once, equally many placements "
        "to each (as in few-shot NAS), for comparison; every member for every placement is --explore 1.",
        used_by=SAMPLED,
        expert=True,
    )
    refresh: int = setting(
        0,
        "Every so many steps, score (without training) the pair that was not scored for the longest time; 0 is never.",
        at_least=0,
        used_by=SAMPLED,
        expert=True,
    )
    val_batch: int | None = setting(
        None,
        "Images of the validation minibatch after each step. Default: as --batch.",
        at_least=1,
        used_by=SUPERNETS,
        expert=True,
    )
    val_every: int = setting(1, "Score only every so many steps.", at_least=1, used_by=SAMPLED, expert=True)
    score_lag: int | None = setting(
        None,
        "Steps until a score is read from the device; 0 waits for it in every step. Default: 8 for mixture and spos "
        "with preset robust, else 0.",
        at_least=0,
        used_by=SAMPLED,
        expert=True,
    )
    placements_per_step: int = setting(
        1,
        "Train so many placements of one member on each minibatch, with shared work, and score them all.",
        at_least=1,
        used_by=SAMPLED,
        expert=True,
    )
    sharing: Literal["shared", "same-init", "random-init"] = setting(
        "shared",
        "shared: a block has the same weights at every resolution. Else it has weights of its own for each, which "
        "begin alike (same-init) or each by itself (random-init).",
        used_by=SUPERNETS,
        expert=True,
    )
    warm_up: float = setting(
        0.0,
        "Part of the search, from its start, in which bse and mcts draw uniformly.",
        at_least=0,
        at_most=1,
        used_by=("bse", "mcts"),
        expert=True,
    )
    ucb_c: float = setting(
        2**0.5,
        "Weight of exploration in mcts; the default is that of UCB1.",
        at_least=0,
        used_by=TREE,
        expert=True,
    )
    ucb_pick: Literal["max", "softmax"] = setting(
        "max",
        "How mcts goes down its tree: to the child of the highest upper confidence bound, or in proportion to its "
        "exponential.",
        used_by=TREE,
        expert=True,
    )
    ucb_reward: Literal["raw", "advantage"] = setting(
        "raw",
        "What mcts averages. raw: the scores themselves, as the paper. advantage: each score less the running mean "
        "of all (--beta): while the whole supernet learns, a branch is otherwise better for being visited late.",
        used_by=TREE,
        expert=True,
    )
    ucb_prior: Literal["none", "leaves"] = setting(
        "none",
        "Exploration in mcts. none: c sqrt(log N / n), alike for all branches, as the paper. leaves: c P sqrt(N) / "
        "(1 + n) with P, the branch's part of the placements (PUCT), so that it is even over placements; with "
        "--ucb-reward advantage try --ucb-c 0.2 to 0.5.",
        used_by=TREE,
        expert=True,
    )
    ucb_warm_up: Literal["keep", "forget"] = setting(
        "keep",
        "What mcts does with the visits and rewards of its warm-up when that ends; with raw rewards, which rise, "
        "forget is better.",
        used_by=TREE,
        expert=True,
    )
    norm: Literal["batch", "calibrate", "per_placement"] = setting(
        "batch",
        "BatchNorm of the supernets: by the batch at hand; calibrate collects statistics before ranking; "
        "per_placement keeps running statistics for each prefix of a placement.",
        used_by=SAMPLED,
        expert=True,
    )


@dataclass(frozen=True)
class RelaxedSettings:
    """How darts and gaea learn the weights of the resolutions: a step of theirs after each of the supernet's."""

    arch_order: Literal[1, 2] = setting(
        1,
        "1: the supernet's weights are held. 2: the step that they would make next is looked through, too.",
        at_least=1,
        at_most=2,
        used_by=RELAXED,
        expert=True,
    )
    arch_optimizer: Literal["adam", "sgd"] = setting(
        "adam",
        "Of darts; gaea has its own (exponentiated gradient).",
        used_by=("darts",),
        expert=True,
    )
    arch_lr: float | None = setting(
        None,
        "Its learning rate. Default: 0.01 for adam, 0.1 for sgd and gaea.",
        at_least=0,
        at_most=100,
        used_by=RELAXED,
        expert=True,
    )


@dataclass(frozen=True)
class AloneSettings:
    """Trainings of placements alone, on search-train, to rank by: of methods without a supernet, and --trials."""

    sweep_epochs: int | None = setting(
        None,
        "Length of a whole training in sweep, halving, random and hyperband. Default: as --retrain-epochs.",
        at_least=1,
        used_by=("sweep", "halving", "random", "hyperband"),
        expert=True,
    )
    sweep_seeds: int = setting(
        1,
        "Trainings of each placement in a sweep.",
        at_least=1,
        used_by=("sweep",),
        expert=True,
    )
    sweep_mode: Literal["search", "benchmark"] = setting(
        "search",
        "search: learn from search-train, compare on search-val. benchmark, for research only: learn from all "
        "training images, compare on test; there is no winner, no retraining and no verdict then.",
        used_by=("sweep",),
        expert=True,
    )
    proxy_width: float | None = setting(
        None,
        "Part of the channels in a proxy. Default: 0.5 for our own networks; with --init and for all others 1.",
        at_least=0.01,
        at_most=1,
        used_by=("proxy",),
        expert=True,
    )
    proxy_images: int | None = setting(
        None,
        "Training images of a proxy (stratified). Default: two fifths of the half, but enough for 16 batches.",
        at_least=1,
        used_by=("proxy",),
        expert=True,
    )
    proxy_epochs: int | None = setting(
        None,
        "Default: an eighth of --retrain-epochs, at least 2.",
        at_least=1,
        used_by=("proxy",),
        expert=True,
    )
    halving_rate: int = setting(
        3,
        "The best 1/rate of a rung of halving and hyperband go on, rate times as long.",
        at_least=2,
        used_by=("halving", "hyperband"),
        expert=True,
    )
    halving_start: int | None = setting(
        None,
        "Epochs of the first rung; of hyperband the least that it may have. Default: as many as leave at least "
        "--halving-rate placements in the last; 1 for hyperband.",
        at_least=1,
        used_by=("halving", "hyperband"),
        expert=True,
    )
    random_k: int = setting(
        8,
        "How many random placements --method random trains; all of them where the space has fewer.",
        at_least=1,
        used_by=("random",),
        expert=True,
    )
    trial_epochs: int | None = setting(
        None,
        "Length of each of the --trials. Default: as --retrain-epochs.",
        at_least=1,
        used_by=PREDICTS,
        expert=True,
    )
