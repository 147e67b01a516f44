"""What an exported file says of an image, by what its network was trained for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskCode:
    """The part of an exported file that is another for each task.

    Attributes:
        names: what its constant ``CLASSES`` has the names of.
        outputs: what the network gives of N images; ``K`` stands for how many names there are.
        line: what the command prints of each image.
        returns: what ``predict`` returns.
        code: of ``predict`` after the image was read as ``x``, and of the lines that print it.
    """

    names: str
    outputs: str
    line: str
    returns: str
    code: str


TASK_CODE: dict[str, TaskCode] = {
    "classification": TaskCode(
        "classes", "logits (N, K)", "the class of each image", "[(class, probability), ...]",
        '''\
@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> list[tuple[str, float]]:
    """The classes of an image file with their probabilities, the most probable first."""
    x = read_image(path)
    probability = net(x.to(next(net.parameters()).device))[0].softmax(0)
    return [(CLASSES[i], float(probability[i])) for i in probability.argsort(descending=True).tolist()]


def told(found: list[tuple[str, float]]) -> str:
    name, probability = found[0]
    return f"{name if name.isprintable() else ascii(name)} ({probability:.1%})"
''',
    ),
    "multi-label": TaskCode(
        "labels", "logits (N, K)", "the labels of each image", "[(label, probability), ...]",
        '''\
@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> list[tuple[str, float]]:
    """The labels with the probability that an image file has them, the most probable first."""
    x = read_image(path)
    probability = net(x.to(next(net.parameters()).device))[0].sigmoid()
    return [(CLASSES[i], float(probability[i])) for i in probability.argsort(descending=True).tolist()]


def told(found: list[tuple[str, float]]) -> str:
    seen = [f"{name if name.isprintable() else ascii(name)} ({p:.1%})" for name, p in found if p > 0.5]
    return ", ".join(seen) or "none"
''',
    ),
    "regression": TaskCode(
        "values", "values (N, K), less their mean and divided by their deviation (SCALE)", "the values of each image",
        "[(name, value), ...]",
        '''\
@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> list[tuple[str, float]]:
    """The values of an image file by their names."""
    x = read_image(path)
    output = net(x.to(next(net.parameters()).device))[0].flatten()
    return [(name, float(v) * std + mean) for name, v, (mean, std) in zip(CLASSES, output, SCALE, strict=True)]


def told(found: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name if name.isprintable() else ascii(name)} {value:.6g}" for name, value in found)
''',
    ),
    "dense": TaskCode(
        "classes of pixels", "logits (N, K, height, width)", "how much of each image is of which class",
        "the number of the class of each pixel, (height, width) of the part that the network sees",
        '''\
@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> Tensor:
    """The number of the class of each pixel of an image file, (height, width) of the part that the network sees."""
    x = read_image(path)
    logits = main_output(net(x.to(next(net.parameters()).device)))
    return nn.functional.interpolate(logits, SIZE, mode="bilinear", align_corners=False)[0].argmax(0)


def main_output(outputs: object) -> Tensor:
    """Of several outputs the one that counts."""
    if isinstance(outputs, dict):
        return outputs.get("out", outputs.get("logits", next(iter(outputs.values()))))
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def told(found: Tensor) -> str:
    shares = [(name, float((found == number).float().mean())) for number, name in enumerate(CLASSES)]
    return ", ".join(f"{name if name.isprintable() else ascii(name)} {share:.1%}" for name, share in shares if share)
''',
    ),
    "": TaskCode(
        "outputs", "what your task takes", "the network's output for each image", "the network's output",
        '''\
@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> object:
    """The network's output for an image file, as your task takes it."""
    return net(read_image(path).to(next(net.parameters()).device))


def told(found: object) -> str:
    return str(found)
''',
    ),
}  # fmt: skip
"""By the name of the task; those of users are the empty name."""


def task_code(task: str) -> TaskCode:
    """The part of an exported file that the task decides.

    Args:
        task: as in the settings.

    Returns:
        Its code and words.
    """
    return TASK_CODE.get(task, TASK_CODE[""])
