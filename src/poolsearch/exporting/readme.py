"""The README.md of an exported folder."""

from __future__ import annotations

from collections.abc import Sequence

from poolsearch.exporting.check import TOLERANCE, ExportCheck
from poolsearch.exporting.model_card import Feature, ModelCard, reductions
from poolsearch.exporting.task_code import task_code
from poolsearch.texts import markdown


def readme(
    facts: ModelCard, features: Sequence[Feature], found: ExportCheck, verdict: str | None, missing: Sequence[str]
) -> str:
    """How to use the folder, and what was checked.

    Args:
        facts: the network, its placement, its classes and where it is from.
        features: the maps of its backbone.
        found: how far the exported files differ from the network.
        verdict: what the run says about its winner; None while the test split was not opened.
        missing: packages without which there is no ``model.onnx``.

    Returns:
        The file in Markdown; names of the user's are escaped.
    """
    code = task_code(facts.task)
    strides = ", ".join(map(str, reductions(features)))
    channels = ", ".join(str(feature.channels) for feature in features)
    shape = ", ".join(map(str, (len(facts.mean), *facts.spec.size)))
    onnx = (
        f"## ONNX\n\n`model.onnx` takes `images` (N, {shape}), float32 as `model.preprocess` makes them, and "
        "gives `logits`; N is free.\n"
        if found.onnx is not None
        else f"There is no `model.onnx`: {', '.join(missing)} was not installed (`pip install 'poolsearch[onnx]'`).\n"
    )
    checked = [("model.py", found.model), ("its backbone's maps", found.maps), ("model.onnx", found.onnx)]
    rows = "\n".join(f"| {name} | {d.logits:.3g} | {d.relative:.1g} |" for name, d in checked if d is not None)
    return f"""# {markdown(facts.name)}, downsampling at {facts.placement.shown}

Training {facts.seed} of the run "{markdown(facts.run)}", written by {facts.maker}, which is not needed to use it.

What the run found: {markdown(verdict or "no verdict: the test split was not opened.")}

## Use

```
python model.py photo.jpg ...
```

```python
from model import Backbone, load, predict

net = load()  # a torch.nn.Module: {code.outputs.replace("K", str(len(facts.classes)))} of images (N, {shape})
predict(net, "photo.jpg")  # {code.returns}
Backbone(net)(images)  # maps of {channels} channels, {strides} times smaller than the image
```

Parameters have the names that are in `model.safetensors`. `model.preprocess` is what the network saw in training,
without the augmentation.

{onnx}
## Checked

Largest differences to the network in the run, in fp32, on images of the search-val half in batches of 1 and 5. It was
run in a process that could not import poolsearch. More than {TOLERANCE:g} of the largest value would not have been
written.

| | difference | of the largest value |
| --- | --- | --- |
{rows}
"""
