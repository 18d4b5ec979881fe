"""The step: a batch's gradients, then the update."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from ..checks import number, one_of, require
from ..negatives import NegativeSampler
from ..protocols import ALONE, Alone, Trainable
from . import closed_form, compiled, reference
from .compiled.host_gather import HostGather
from .compiled.recorded import RecordedStep
from .gather import FeatureGather
from .gradients import Batch, Gradients, Losses
from .optimizer import Optimizer


class PairwiseTrainer:
    """Takes steps on a bound model, which is updated in place; in closed form, see :mod:`amrlib.training.closed_form`.

    ``lr`` is one rate or (lr_P, lr_Q, lr_E), ``reg`` one weight or (reg_P, reg_item, reg_E), ``optimizer`` ``"adam"`` or
    ``"adagrad"``, from ``initial_accumulator``, 0.1 in the authors' program. ``reg_form="combined"`` penalises whole item
    vectors, q_i + Eᵀc_i, as that program does; ``"apart"`` q_i and q_j, of Q, and E by reg_E alone, once a batch (eq. 7,
    and q_j). DUIF then has nothing under reg_item; without E both are the same. ``perturbation="random"`` draws from
    ``generator``, by default of seed 0. With ``cuda_graph``, as in ``fit`` unless the class says ``can_be_recorded = False``,
    Adagrad's step is recorded on a card: ``training.compiled.recorded``. No data, or no such rate, weight, word or id: a
    ValueError."""

    name: ClassVar[str] = "closed_form"
    gradients: ClassVar[Callable[..., Gradients]] = staticmethod(closed_form.gradients)
    can_be_recorded: ClassVar[bool] = True  # it never waits for the card
    team: Alone = ALONE  # who shares the work

    def __init__(
        self, model: Trainable, lr: float | Sequence[float] = 0.05, reg: float | Sequence[float] = 0.0,
        optimizer: str = "adagrad", initial_accumulator: float = 0.1, generator: Generator | None = None,
        cuda_graph: bool = True, reg_form: str = "combined",
    ) -> None:  # fmt: skip
        require(model.P is not None, f"this {type(model).__name__} has no parameters yet; call bind(shop) first")
        self.model, self.lr, self.reg = model, _three(lr, "lr"), _three(reg, "reg")
        one_of(reg_form, "reg_form", ("combined", "apart"))
        self.reg_form, self.apart = reg_form, reg_form == "apart" and model.E is not None  # without E they are the same
        self.generator = generator or Generator(model.P.device).manual_seed(0)
        parameters = {name: theta for name in "PQE" if (theta := getattr(model, name)) is not None}
        self.optimizer = Optimizer(parameters, dict(zip("PQE", self.lr, strict=True)), optimizer, initial_accumulator)
        self.on_host = model.features is not None and model.features.device != model.P.device
        self.gather: FeatureGather = HostGather(model.P.device) if self.on_host else FeatureGather()
        self.recorded = RecordedStep() if cuda_graph and self.can_be_recorded else None
        self.checks_ids = True  # ``fit`` looks at the whole data set's ids once instead

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name", cls.__name__)  # what history.attrs["trainer"] says

    def new_epoch(self, users: Tensor, pos: Tensor, sampler: NegativeSampler, batch_size: int, generator: Generator) -> Tensor:
        """:meth:`epoch` of all rows (user, pos), (n,) each, in an order and with negatives that ``generator`` draws."""
        order = torch.randperm(len(users), generator=generator, device=users.device)
        return self.epoch(users[order], pos[order], sampler(users[order], generator), batch_size)

    def epoch(self, users: Tensor, pos: Tensor, neg: Tensor, batch_size: int) -> Tensor:
        """A step for every ``batch_size`` triples of those, (n,) each; sums of bpr, adversarial and objective, (3,) float64."""
        both = torch.stack([pos, neg]).cpu() if self.gather.fetches else None  # (2, n)
        sums = torch.zeros(3, dtype=torch.float64, device=users.device)  # on the device: no wait inside an epoch
        for start in range(0, len(users), batch_size):
            batch, following = slice(start, start + batch_size), slice(start + batch_size, start + 2 * batch_size)
            if both is not None and (features := self.model.features) is not None:
                for part in (batch, following) if start == 0 else (following,):
                    self.gather.fetch(features, pos[part], neg[part], both[:, part].flatten())
            sums += torch.stack(self.step(users[batch], pos[batch], neg[batch]))
        return sums

    def step(self, users: Tensor, pos: Tensor, neg: Tensor) -> Losses:
        """One mini-batch of B triples: int64 ids, each ``(B,)``. Returns the losses before the update."""
        batch = Batch(users.long(), pos.long(), neg.long())
        if self.checks_ids:
            self._check(batch)
        return self._step(batch)

    def _step(self, batch: Batch) -> Losses:
        if self.recorded is None or not self._fixed():
            return self._eager_step(batch, self.gather)
        m, lr = self.model, self.optimizer.lr.values()
        constants = (m.P, m.Q, m.E, m.features, m.epsilon, m.adv_weight, self.reg, self.apart, *lr)
        losses = self.recorded(self._eager_step, batch, constants)
        for theta in self.optimizer.parameters.values():
            torch.autograd.graph.increment_version(theta)  # torch does not see what a recording writes
        return losses

    def _fixed(self) -> bool:
        """Whether a step is the same launches each time, with nothing from the host but the ids."""
        m, adagrad = self.model, self.optimizer.kind == "adagrad"
        return m.P.is_cuda and adagrad and not self.on_host and (m.perturbation == "gradient" or not m.adv_weight)

    def _eager_step(self, batch: Batch, gather: FeatureGather) -> Losses:
        sparse = self.optimizer.kind != "adagrad"  # Adam's momentum would move a row without gradient, Adagrad would not
        gradients = self.gradients(self.model, batch, self.reg, self.apart, self.generator, gather, sparse)
        self.optimizer.step(gradients)
        return gradients.losses

    def _check(self, batch: Batch) -> None:
        """Ids in range (torch would count a negative one from the end), and three lists of one length."""
        u, i, j = (len(ids) for ids in batch)
        require(u == i == j > 0, f"users, pos and neg must be as long as each other and not empty, not {u}, {i} and {j}")
        n_items = next(len(table) for table in (self.model.Q, self.model.features) if table is not None)
        for name, ids, size in zip(Batch._fields, batch, (len(self.model.P), n_items, n_items), strict=True):
            first, last = (int(end) for end in torch.aminmax(ids))
            require(0 <= first <= last < size, f"{name}: id {first if first < 0 else last} is outside 0…{size - 1}")


class AutogradTrainer(PairwiseTrainer):
    """The same step as the paper writes it: see :mod:`amrlib.training.reference`."""

    name = "autograd"
    gradients = staticmethod(reference.gradients)
    can_be_recorded = False


def trainer_class(trainer: str | type[PairwiseTrainer], model: Trainable, optimizer: str) -> type[PairwiseTrainer]:
    """The class that ``fit(trainer=…)`` names; ``"auto"`` is the compiled one where it has a loop and numba is there. Another
    name is a ValueError; ``"compiled"`` without numba an ImportError."""
    if isinstance(trainer, type):
        return trainer
    one_of(trainer, "trainer, if no class of one's own,", ("auto", "closed_form", "autograd", "compiled", "per_triple"))
    has_loop = model.P.is_cpu and optimizer == "adagrad" and (model.perturbation == "gradient" or not model.adv_weight)
    if trainer in ("compiled", "per_triple") or (trainer == "auto" and has_loop and importlib.util.find_spec("numba")):
        return compiled.trainer_class(trainer)
    return AutogradTrainer if trainer == "autograd" else PairwiseTrainer


def _three(value: Any, name: str) -> tuple[float, ...]:
    values = (value,) * 3 if np.ndim(value) == 0 else tuple(value)
    require(len(values) == 3, f"{name} must be one number or three (for P, items, E), not {value!r}")
    return tuple(number(one, name) for one in values)
