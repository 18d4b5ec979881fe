"""How a model of P, Q and E is trained on triples: batch → gradients → parameters.

One file a stage: ``closed_form`` (or ``reference``, by autograd) takes a batch to its gradients; ``optimizer`` moves the
parameters; ``trainer`` is the step of the two, ``compiled`` the same in loops for a CPU; ``loop`` goes over the epochs."""

from ..negatives import NegativeSampler
from ..protocols import Trainable
from .callbacks import Callback, EarlyStopping
from .closed_form import NORM_FLOOR, item_vectors
from .gradients import Batch, Gradients, Losses, RowGradient
from .trainer import AutogradTrainer, PairwiseTrainer

__all__ = ["NORM_FLOOR", "AutogradTrainer", "Batch", "Callback", "EarlyStopping", "Gradients", "Losses", "NegativeSampler",
           "PairwiseTrainer", "RowGradient", "Trainable", "item_vectors"]  # fmt: skip
