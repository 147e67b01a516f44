"""A process that decodes: jobs come by standard input, pixels go by standard output.

Started by :mod:`poolsearch.data.processes`. It knows nothing of data sets, and does not import torch.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import warnings

from PIL import Image

from poolsearch.data.decode import decode
from poolsearch.data.form import Form
from poolsearch.data.gate import PIXELS_AT_ONCE
from poolsearch.data.image_file import Raw
from poolsearch.image_size import ImageSize

HELLO = "ready"


def main() -> None:
    """Answer jobs until there are no more, or nobody is left to answer."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the pixels
    warnings.simplefilter("ignore")  # PIL's remarks on odd files
    with contextlib.suppress(EOFError, BrokenPipeError):
        answer: object = HELLO
        while True:
            pickle.dump(answer, answers)
            answers.flush()
            raws, form, size, Image.MAX_IMAGE_PIXELS = pickle.load(sys.stdin.buffer)
            answer = [_decode(raw, form, size) for raw in raws]
    os._exit(0)  # without flushing into a pipe that nobody reads


def _decode(raw: Raw | None, form: Form, size: ImageSize | None) -> bytes | None:
    """Pixels, or None for whatever is not a plain success: the asking process finds out why."""
    try:
        return None if raw is None else decode(raw, form, size, PIXELS_AT_ONCE)
    except Exception:  # damaged files make decoders raise anything
        return None
