"""What goes into a step and what comes out of it."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """B triples: user u touched item i and not item j. int64, (B,) each."""

    users: Tensor
    pos: Tensor
    neg: Tensor


class Losses(NamedTuple):
    """Sums over one batch, taken before the update; tensors of no dimension, still on the device."""

    bpr: Tensor
    adversarial: Tensor
    objective: Tensor


class RowGradient(NamedTuple):
    """The gradient of some rows of a table."""

    ids: Tensor | None  # (R,) which rows; None: all of them
    values: Tensor  # (R, K); where an id stands twice, both rows hold its whole gradient


class Gradients(NamedTuple):
    """∂(objective)/∂P, ∂Q and ∂E over one batch; Q and E are None where the model has none."""

    P: RowGradient
    Q: RowGradient | None
    E: RowGradient | None
    losses: Losses
