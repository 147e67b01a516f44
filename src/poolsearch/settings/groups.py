"""What a user can set, in groups, each setting with its rule. Imports no torch: it must answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poolsearch.image_size import Fit
from poolsearch.settings.methods import PLACED, PREDICTS, SAMPLED
from poolsearch.settings.rule import setting

Augment = Literal["auto", "none", "crop", "crop-flip", "resized-crop-flip"]

Control = Literal["macs", "random", "input-size"]

Metric = Literal[
    "accuracy", "balanced-accuracy", "macro-f1", "sample-f1", "label-accuracy", "exact-match", "closeness", "iou",
    "pixel-accuracy",
]  # fmt: skip


@dataclass(frozen=True)
class DataSettings:
    """Images to learn from."""

    data: str = setting(
        "digits",
        "'digits' (built in), a torchvision data set (cifar10, food101, ...), a folder of class folders, a table "
        "(labels.csv with the columns file,label and optionally split,group), a folder of Hugging Face parquet files, "
        "or an .npz file.",
        may_change="always",
    )
    subset: int | None = setting(
        None,
        "Use only this many training images (stratified); the test split stays whole. Default: all.",
        at_least=1,
    )
    groups: str | None = setting(
        None,
        "A CSV file with the columns file,group (or index,group): images of one group (a patient, a product) are "
        "kept together in every division of the images. Default: by the column group of a table, else each image "
        "by itself.",
        may_change="always",
    )
    task: str = setting(
        "classification",
        "What is learned of an image: classification, its class; multi-label, any number of labels; regression, one or "
        "more numbers; dense, the class of every pixel; or FILE.py:FACTORY for a function of yours that gives a "
        "poolsearch.Task.",
    )
    metric: Metric | None = setting(
        None,
        "What placements are scored, ranked and tested by. accuracy; balanced-accuracy: the mean recall of the "
        "classes; macro-f1: the mean of their F1; the last two count every class alike, for classes of very different "
        "sizes. For --task multi-label: sample-f1, label-accuracy or exact-match; regression: closeness; dense: iou or "
        "pixel-accuracy. Default: the first of each task.",
    )
    image_size: int | str | None = setting(
        None,
        "Size that the network sees: 64 for squares, 48x96 for 48 pixels high and 96 wide. Default: the images' own "
        "when all are equal and the shorter side is at most 64, else 224.",
        at_least=1,
    )
    fit: Fit | None = setting(
        None,
        "Images of another shape: cut to their centre, squeezed or padded. Default: crop.",
    )
    channels: int | Literal["auto"] = setting(
        "auto",
        "Channels of the images that the network sees, to which all are converted: 1 for grey, 3 for colours, 4 with "
        "transparency, or as many as arrays have, or files have pages. auto: what a network of a FILE.py takes, else "
        "3, or what arrays (.npz, .npy) have of 2, 5 and more.",
        at_least=1,
        expert=True,
    )
    value_range: str | None = setting(
        None,
        "Values that become black and white in images of more than 8 bits, such as 0,4095 for 12 bits in files of 16; "
        "those beyond are cut off. each-file: guessed for each file by itself. Default: found, one range for all "
        "images: 0 to 255, 511, 1023, ..., or to a power of two for floating-point.",
        expert=True,
    )
    augment: Augment = setting(
        "auto",
        "auto: crop-flip up to 64 pixels (crop where a mirrored image means something else, as a digit), else "
        "resized-crop-flip.",
        expert=True,
    )
    cache_dir: str | None = setting(
        None,
        "Where decoded images are kept. Default: the user's cache folder.",
        may_change="always",
        expert=True,
    )


@dataclass(frozen=True)
class NetSettings:
    """The network whose downsampling is searched."""

    net: str | None = setting(
        None,
        "cifar-resnet20|32|44|56|110|18|34|50|101 (3x3 stem, searched over), resnet18|34|50|101 (ImageNet stem, "
        "fixed), timm:NAME, torchvision:NAME, or FILE.py:FACTORY for a function of yours that takes the number of "
        "classes and gives a torch.nn.Module. Default: cifar-resnet20 for images up to 64 pixels, else resnet18.",
    )
    width: int | None = setting(
        None,
        "Channels of the first stage. Default: 16 for cifar-resnet20 to 110, else 64.",
        at_least=1,
        expert=True,
    )
    op: Literal["max", "avg", "blur", "stride", "native"] | None = setting(
        None,
        "How a site downsamples. Default: max for cifar-resnet20 to 110 (paper, B.2), stride for our other "
        "networks, native (its own strided form, moved) for all others.",
        expert=True,
    )
    init: str | None = setting(
        None,
        "Weights that the search and the retraining begin with: a .safetensors or .pth file of this network (a last "
        "layer for other classes is replaced), or 'pretrained' for those of timm or torchvision. Default: none, "
        "fresh weights.",
        may_change="always",
    )
    init_key: str | None = setting(
        None,
        "The entry of the --init file whose weights are taken, such as ema. Default: state_dict, model_state_dict, "
        "model, or the only one.",
        expert=True,
    )
    search_stem: bool = setting(
        False,
        "Move the downsampling of the stem, too, where the network is not ours. --halvings then counts its halvings.",
        expert=True,
    )
    blocks: tuple[str, ...] = setting(
        (),
        "The submodules between which the downsampling may move, where the network is not ours: names, or patterns "
        "such as 'layer?.*' in which a * stands for one part of a name, between dots. Default: they are found; "
        "'poolsearch check' shows them.",
        expert=True,
    )
    axes: Literal["hw", "h,w"] = setting(
        "hw",
        "hw: a site halves height and width together. h,w: each by itself, for text lines or spectrograms; the size "
        "of the space is squared.",
        used_by=PLACED,
        expert=True,
    )
    paths: Literal["restricted", "any"] = setting(
        "restricted",
        "restricted: as many halvings as the network itself, nothing in between. any: every block but the first at "
        "any of the network's resolutions, with upsampling where a block is at a higher one than the block before.",
        used_by=PLACED,
        expert=True,
    )
    halvings: str = setting(
        "default",
        "How often a placement halves maps: 3, 2-5. Default: default, as the network does.",
        used_by=PLACED,
    )
    zero_init: bool = setting(False, "Start the residual branches of stand-alone networks at zero.", expert=True)
    placements: tuple[str, ...] = setting(
        (),
        "Search only these placements, such as --placements 4,3,3 5,3,2 (with --axes h,w also 'h 4,3,3 w 3,4,3'). "
        "Default: the whole space.",
        used_by=PLACED,
        expert=True,
    )
    min_blocks: tuple[int, ...] = setting(
        (),
        "Least number of blocks at each resolution, such as 2 1 1; with --axes h,w along each axis.",
        used_by=PLACED,
        expert=True,
    )
    max_blocks: tuple[int, ...] = setting(
        (),
        "Most blocks at each resolution; with --axes h,w along each axis.",
        used_by=PLACED,
        expert=True,
    )
    max_placements: int = setting(
        20_000,
        "Larger spaces are searched on a seeded uniform subset of this size; the report says so.",
        at_least=1,
        used_by=PLACED,
        expert=True,
    )


@dataclass(frozen=True)
class BudgetSettings:
    """What a placement may cost to be searched; amounts with x are times what the network's own placement needs."""

    max_macs: str | None = setting(
        None,
        "Most multiply-adds of a forward pass on one image: 1.0x, 800M, 4G. Default: no limit.",
        used_by=PLACED,
    )
    max_memory: str | None = setting(
        None,
        "Most memory of a training step at --batch, beside the weights: 1.0x, 500MB, 2GB. Default: no limit.",
        used_by=PLACED,
    )
    max_latency: str | None = setting(
        None,
        "Longest forward pass, measured before the search: 1.2x, 5ms. Default: no limit.",
        used_by=PLACED,
    )
    latency_device: Literal["auto", "cpu", "cuda", "mps"] | None = setting(
        None,
        "Where latency is measured; auto: as the run. Default: auto with --max-latency, else not measured.",
        used_by=PLACED,
        expert=True,
    )
    latency_batch: int = setting(
        1,
        "Images of a forward pass whose latency is measured.",
        at_least=1,
        used_by=PLACED,
        expert=True,
    )


@dataclass(frozen=True)
class RankSettings:
    """Evaluation of the placements on the whole search-val half."""

    rank_by: Literal["metric", "prediction"] | None = setting(
        None,
        "metric: the placements' metric in their supernets, as in the paper. prediction: what a model expects of a "
        "stand-alone training, from the metric in all supernets (so --rank-members mean), the MACs, where the "
        "placement downsamples, and the results of --trials. Default: prediction for mixture and spos with preset "
        "robust, and for bayes; else metric.",
        used_by=PREDICTS,
        may_change="ranks-again",
        expert=True,
    )
    trials: int | None = setting(
        None,
        "Placements trained alone on search-train, for --rank-by prediction to learn from: the default twice, then "
        "those that promise most. Fewer, if none promises 0.1 points any more. Default: 5 for mixture and spos with "
        "preset robust, 8 for bayes, else 0.",
        at_least=0,
        used_by=PREDICTS,
        may_change="ranks-again",
    )
    rank_members: Literal["assignment", "best", "mean"] | None = setting(
        None,
        "assignment (default): each placement by its most probable member. best: by all members, keeping the best. "
        "mean: by the mean of all members, which are trained apart and end at different levels; takes as long as "
        "best.",
        used_by=SAMPLED,
        may_change="ranks-again",
        expert=True,
    )
    rank_all_up_to: int = setting(
        100,
        "Spaces up to this size are ranked whole; of larger ones the best by score and a control group.",
        at_least=1,
        used_by=SAMPLED,
        may_change="ranks-again",
        expert=True,
    )
    rank_top: int = setting(
        50,
        "In larger spaces: how many of the best by score.",
        at_least=1,
        used_by=SAMPLED,
        may_change="ranks-again",
        expert=True,
    )
    rank_control: int = setting(
        50,
        "Random placements evaluated beside the best by score, as a control.",
        at_least=0,
        used_by=SAMPLED,
        may_change="ranks-again",
        expert=True,
    )
    rank_early_stop: bool = setting(
        False,
        "Stop placements as soon as they are behind the first --top-k beyond chance (error probability 1 %); meant "
        "for --rank-all-up-to 5000 and the like.",
        used_by=SAMPLED,
        may_change="ranks-again",
        expert=True,
    )
    rank_memory: float | None = setting(
        None,
        "GB of memory for the ranking: the default of --eval-batch is halved until it fits. Default: half of what "
        "is free.",
        at_least=0.001,
        used_by=SAMPLED,
        may_change="before-ranking",
        expert=True,
    )
    eval_batch: int | None = setting(
        None,
        "Images per evaluation batch. Default: 512 up to 64 pixels, else 64; less where memory is short.",
        at_least=1,
        may_change="before-ranking",
        expert=True,
    )


@dataclass(frozen=True)
class RetrainSettings:
    """Stand-alone training of the best placements and the default, on all training images."""

    top_k: int = setting(
        3,
        "How many of the ranking are trained beside the default.",
        at_least=1,
        may_change="grows",
    )
    answer_at: tuple[float, ...] = setting(
        (1.0, 1.5),
        "Answers within so many times the default's MACs, beside the one without a limit: the first of the ranking "
        "within each is trained, too. --answer-at alone: only the one without a limit.",
        at_least=0.001,
        may_change="before-retraining",
    )
    control: tuple[Control, ...] = setting(
        ("macs", "random"),
        "Trained to compare the winner with. macs: the placement that has the most MACs. random: another random "
        "placement for every seed. input-size: the default on larger images, at the winner's MACs. --control alone: "
        "none.",
        may_change="before-retraining",
        expert=True,
    )
    retrain_seeds: int = setting(
        3,
        "Trainings of each; the verdict needs at least two.",
        at_least=1,
        may_change="grows",
    )
    retrain_epochs: int | None = setting(
        None,
        "Default: 200 (12 for digits), with --init 20 (12 for digits).",
        at_least=1,
        may_change="before-retraining",
    )
    retrain_batch: int | None = setting(
        None,
        "Default: as the search.",
        at_least=1,
        may_change="before-retraining",
        expert=True,
    )
    retrain_lr: float | None = setting(
        None,
        "Default: as the search.",
        at_least=0,
        at_most=100,
        may_change="before-retraining",
        expert=True,
    )
    retrain_weight_decay: float | None = setting(
        None,
        "Default: as the search.",
        at_least=0,
        at_most=1,
        may_change="before-retraining",
        expert=True,
    )


@dataclass(frozen=True)
class MachineSettings:
    """Where and how it runs."""

    seed: int = setting(
        0,
        "Of everything random: split, weights, order of images, draws.",
        at_least=0,
        at_most=2**63 - 1,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto",
        "auto: cuda, else mps, else cpu.",
        may_change="always",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        "auto: bf16 where the hardware is faster with it (on a CPU this is timed), else fp32.",
        expert=True,
    )
    memory_format: Literal["auto", "channels-last", "contiguous"] = setting(
        "auto",
        "How maps lie in memory. auto: channels-last, which is faster; contiguous where the network does not train "
        "in it (as one that calls view on a map).",
        expert=True,
    )
    compile: str | None = setting(
        None,
        "Compile the blocks with this backend of torch.compile, such as inductor: worth a try on a GPU, slower on "
        "CPUs. Default: none.",
        expert=True,
    )
    deterministic: bool = setting(
        False,
        "Only deterministic kernels: a GPU run then repeats to the bit, at some cost.",
        expert=True,
    )
    checkpoint_seconds: float = setting(
        120.0,
        "Time between checkpoints.",
        at_least=0,
        may_change="always",
        expert=True,
    )
    workers: int | None = setting(
        None,
        "Retrainings at once, each in a process of its own. Default: on a CPU one per core for images up to 64 "
        "pixels, else 1; with several CUDA cards one per card. More than 1 share a card where there are fewer "
        "cards.",
        at_least=1,
        may_change="always",
    )
    tracker: Literal["none", "tensorboard"] = setting(
        "none",
        "tensorboard: write curves of all trainings, and the verdict, into tensorboard/ in the run's folder "
        "(needs the package tensorboard). For other trackers: docs/callbacks.md.",
        may_change="always",
        expert=True,
    )
