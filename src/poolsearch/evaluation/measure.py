"""From networks' responses on known images to the metric: of classes, or of each image by itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from poolsearch.evaluation.metrics import contributions, interval, score
from poolsearch.evaluation.stats import Ints, wilson
from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import metric_name

Floats = NDArray[np.float64]
Responses = NDArray[Any]
"""What is kept of each image that a network sees, shape (..., N): the number of a class, or the image's own metric."""

_ROUNDING = 1e-18  # a smaller variance of a mean is none


class Measure(Protocol):
    """What responses on some images, in their order, are worth.

    Attributes:
        name: of the metric, for people.
        images: N.
        per_image: whether images are a sample that intervals may rest on.
        class_N: the class of each image, where the metric counts every class alike; else None.
        kept_as: the type that responses are kept as.
        chance_is: what a network does that has learnt nothing, in words.
    """

    @property
    def name(self) -> str: ...

    @property
    def kept_as(self) -> np.dtype[Any]: ...

    @property
    def chance_is(self) -> str: ...

    @property
    def images(self) -> int: ...

    @property
    def per_image(self) -> bool: ...

    @property
    def class_N(self) -> Ints | None: ...

    def first(self, images: int) -> Measure:
        """The same for the first images alone.

        Args:
            images: how many.

        Returns:
            A measure of these.
        """
        ...

    def score(self, response_N: Responses) -> Floats:
        """The metric.

        Args:
            response_N: shape (..., N).

        Returns:
            Fractions, shape (...).
        """
        ...

    def fits(self, response_N: Responses) -> bool:
        """Whether an array may be responses on these images.

        Args:
            response_N: that was read from a file.

        Returns:
            False where its shape, kind or values are not those of responses.
        """
        ...

    def right(self, response_N: Responses) -> NDArray[np.bool_]:
        """Which images are right.

        Args:
            response_N: shape (..., N).

        Returns:
            The same shape; without classes, an image is right that has the whole metric.
        """
        ...

    def accuracy(self, response_N: Responses) -> float:
        """The part of the images that is right; without classes the metric.

        Args:
            response_N: shape (N,).

        Returns:
            A fraction.
        """
        ...

    def interval(self, response_N: Responses) -> tuple[float, float]:
        """The 95 % interval of the metric of one network.

        Args:
            response_N: shape (N,).

        Returns:
            (low, high), fractions.
        """
        ...

    def contributions(self, response_SN: Responses) -> Floats:
        """What each image adds to the metric: the mean over them is the metric.

        Args:
            response_SN: shape (S, N).

        Returns:
            Shape (S, N); (S, 1) of a metric that is no mean over images.
        """
        ...


@dataclass(frozen=True, eq=False)
class ClassMeasure:
    """Of networks that see a class in each image.

    Attributes:
        metric: of all images together.
        true_N: the class of each image.
        class_names: of all classes.
    """

    metric: Metric
    true_N: Ints
    class_names: Sequence[str]

    @property
    def name(self) -> str:
        return metric_name(self.metric)

    @property
    def images(self) -> int:
        return len(self.true_N)

    @property
    def per_image(self) -> bool:
        return True

    @property
    def class_N(self) -> Ints | None:
        return None if self.metric == "accuracy" else self.true_N

    def first(self, images: int) -> ClassMeasure:
        return replace(self, true_N=self.true_N[:images])

    def score(self, response_N: Responses) -> Floats:
        return score(self.metric, self.true_N, response_N, len(self.class_names))

    @property
    def chance_is(self) -> str:
        """Naming one class always, or any alike."""
        return "chance"

    @property
    def kept_as(self) -> np.dtype[Any]:
        """The smallest integers that hold the classes."""
        return np.min_scalar_type(len(self.class_names) - 1)

    def fits(self, response_N: Responses) -> bool:
        alike = response_N.shape == self.true_N.shape and response_N.dtype.kind == "u"
        return alike and bool(response_N.max() < len(self.class_names))

    def right(self, response_N: Responses) -> NDArray[np.bool_]:
        return self.true_N == response_N

    def accuracy(self, response_N: Responses) -> float:
        return float(self.right(response_N).mean())

    def interval(self, response_N: Responses) -> tuple[float, float]:
        return interval(self.metric, self.true_N, response_N, len(self.class_names))

    def contributions(self, response_SN: Responses) -> Floats:
        return contributions(self.metric, self.true_N, response_SN, len(self.class_names), about="class")


@dataclass(frozen=True, eq=False)
class ImageMeasure:
    """Of a task whose metric is known of each image, or of each minibatch.

    Attributes:
        name: of the metric, for people.
        images: how many.
        per_image: False: the metric is no mean over images, and that of a minibatch stands at each of its images.
        guess_GN: the metric of each image where networks would always say the same, for several sayings; may be none.
    """

    name: str
    images: int
    per_image: bool
    guess_GN: Floats

    @property
    def class_N(self) -> Ints | None:
        return None

    def first(self, images: int) -> ImageMeasure:
        return replace(self, images=images, guess_GN=self.guess_GN[:, :images])

    def score(self, response_N: Responses) -> Floats:
        return np.asarray(response_N, np.float64).mean(-1)

    @property
    def chance_is(self) -> str:
        """The best of the guesses."""
        return "the same output for every image"

    @property
    def kept_as(self) -> np.dtype[Any]:
        """As torch gives them."""
        return np.dtype(np.float32)

    def fits(self, response_N: Responses) -> bool:
        alike = response_N.shape == (self.images,) and response_N.dtype == self.kept_as
        return alike and bool(((response_N >= 0) & (response_N <= 1)).all())

    def right(self, response_N: Responses) -> NDArray[np.bool_]:
        return response_N == 1

    def accuracy(self, response_N: Responses) -> float:
        return float(self.score(response_N))

    def interval(self, response_N: Responses) -> tuple[float, float]:
        # Wilson's, with as many images as would give the variance of the mean, were it a proportion; of a metric that
        # is no mean over images, as if it were a proportion of them
        value, images = float(self.score(response_N)), len(response_N)
        variance = float(np.var(response_N, dtype=np.float64)) / images
        effective = value * (1 - value) / variance if self.per_image and variance > _ROUNDING else images
        return wilson(value * effective, effective)

    def contributions(self, response_SN: Responses) -> Floats:
        value_SN = np.asarray(response_SN, np.float64)
        return value_SN if self.per_image else value_SN.mean(-1, keepdims=True)
