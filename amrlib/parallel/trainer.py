"""A step that several processes take together, to the same parameters as one of them alone.

Everyone draws the same triples from the seed. A user belongs to one process, which alone holds and moves p_u: it computes
the losses and gradients of that user's triples. Q and E are everyone's. What crosses between processes in a step of B
triples, U distinct items among them, is

* Z = CE (U, K), where each process multiplied its share of the items' features by E: the work in D dimensions is shared;
* s_n = Σ ∂L/∂q̃_n (U, K), so that the adversary's Γ_n = E s_n is that of the whole batch; and s'_n likewise;
* ∂L/∂E (D, K).

The lines follow :mod:`amrlib.training.closed_form`, whose functions they use and to which the tests hold them in float64."""

from typing import Any, cast

import torch
from torch import Tensor

from ..checks import require
from ..protocols import Trainable
from ..training.closed_form import _pull, _take, _worst_directions, epsilon_of, item_vectors, random_directions
from ..training.gather import FeatureGather
from ..training.gradients import Batch, Gradients, Losses, RowGradient, distinct
from ..training.trainer import PairwiseTrainer
from .team import Team, team

ASK_EVERY = 16  # steps: how often a process hears that another was told to stop


class ParallelTrainer(PairwiseTrainer):
    """``fit(trainer=ParallelTrainer)``, in every process that torchrun started, after :func:`amrlib.parallel.team.start`.

    The parameters after an epoch are those of ``trainer="closed_form"`` up to rounding, for any number of processes, and
    every process has all of them then; so ranks, checkpoints and files are made as ever. A checkpoint goes on with any other
    number of processes; its file must be seen by all of them."""

    name = "parallel"
    can_be_recorded = False
    team: Team

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.team = team()
        self.gather = FeatureGather()
        require(not self.on_host, "several processes read their features from memory or from a file; leave features='host'")

    @staticmethod
    def all_processes() -> Team:
        """For models that are not trained by gradients."""
        return team()

    def epoch(self, users: Tensor, pos: Tensor, neg: Tensor, batch_size: int) -> Tensor:
        drawn = [int((ids * torch.arange(1, len(ids) + 1, device=ids.device)).sum()) for ids in (users, pos, neg)]
        same = self.team.same(len(users), batch_size, *drawn)
        require(same, "the processes have drawn different triples: they need the same data, seed, settings and version of "
                      "torch, and a checkpoint that all of them see, or none")  # fmt: skip
        sums = torch.zeros(3, dtype=torch.float64, device=users.device)
        for count, start in enumerate(range(0, len(users), batch_size)):
            if count % ASK_EVERY == 0 and self.team.told_to_stop():
                self._meet()
                raise KeyboardInterrupt
            batch = slice(start, start + batch_size)
            sums += torch.stack(self.step(users[batch], pos[batch], neg[batch]))
        self._meet()
        return self.team.sum(sums)

    def _meet(self) -> None:
        """Everyone gets everyone's users; and the first one's Q and E, since other processors may round differently."""
        for name, theta in self.optimizer.parameters.items():
            state = self.optimizer.state
            for table in [theta, *(state[key] for key in (name, f"{name}.m") if key in state)]:
                table.copy_(self.team.whole(table[self.team.part], len(table))) if name == "P" else self.team.lead(table)

    def _eager_step(self, batch: Batch, gather: FeatureGather) -> Losses:
        gradients = shared_gradients(self.team, self.model, batch, self.reg, self.apart, self.generator, gather)
        self.optimizer.step(gradients)
        return gradients.losses


@torch.no_grad()
def shared_gradients(
    team: Team, model: Trainable, batch: Batch, reg: tuple[float, ...], apart: bool, generator: torch.Generator,
    gather: FeatureGather,
) -> Gradients:  # fmt: skip
    """∂(objective)/∂(P, Q, E) of the whole ``batch``: of P the rows of this process's users, of Q and E all, alike in every
    process. The losses are this process's share, and add up."""
    reg_P, reg_item, reg_E = reg
    P, Q, E, c = model.P, model.Q, model.E, model.features
    own = (batch.users % team.size == team.rank).nonzero()[:, 0]  # (b,)  which triples are this process's
    mine = Batch(*(ids[own] for ids in batch))
    users, items = distinct(mine.users, True), distinct(torch.cat([batch.pos, batch.neg]), True)
    ids, U = cast(Tensor, items.ids), items.size  # (U,)
    i, j = items.place.view(2, -1)[:, own]  # (b,), (b,)
    here = items._replace(place=torch.cat([i, j]))

    # Item vectors: q̃_n of each of the batch's items, each process's share of the features' work; or own differences alone
    each_item = bool(reg_item and not apart) or (E is not None and U <= len(batch.users))
    plus, minus = (ids[team.part], None) if each_item else (mine.pos, mine.neg)
    C, Z = (None, None) if E is None or c is None else gather(c, E, mine, plus, minus)
    if each_item and Z is not None:
        Z = team.whole(Z, U)  # (U, K)
    p = P.index_select(0, mine.users)  # (b, K̃)
    q = item_vectors(None if Q is None else _take(Q, *((ids, None) if each_item else (mine.pos, mine.neg))), Z, model.joint)
    difference = _take(q, i, j) if each_item else q  # (b, K̃)

    bpr, g, pull = _pull(p, difference)
    grad_p, grad_q = g * difference, team.sum(here.sums(torch.cat([pull, -pull])))  # (b, K̃); (U, K̃)  s_n

    adversarial, EM = torch.zeros_like(bpr), None
    visual = slice(0 if Z is None else p.shape[1] - Z.shape[1], None)
    if model.adv_weight > 0 and E is not None:
        r = None
        if model.perturbation == "random":
            noise = random_directions(model, ids, generator)  # (U, D)  the same in every process
            shift = noise @ E
        else:
            r, shift = _worst_directions(grad_q[:, visual], epsilon_of(model, ids), E.T @ E)
        difference[:, visual] += _take(shift, i, j)
        adversarial, g, pull_adv = _pull(p, difference, model.adv_weight)
        s_adv = team.sum(here.sums(torch.cat([pull_adv, -pull_adv])))  # (U, K̃)
        grad_p.addcmul_(g, difference)
        pull.add_(pull_adv)
        grad_q.add_(s_adv)
        EM = (noise.T, s_adv[:, visual]) if r is None else (E, r.T @ s_adv[:, visual])

    objective = bpr + model.adv_weight * adversarial
    if reg_P:
        objective = objective + reg_P * (p.square().sum() - len(own) * len(model.constant_columns))
        grad_p.add_(p, alpha=2 * reg_P)
    of_z = (grad_q.clone() if apart else grad_q) if each_item else pull
    if reg_item and (penalised := q if not apart else None if Q is None else Q.index_select(0, ids)) is not None:
        times = items.sums(p.new_ones(len(items.place), 1))  # (U, 1)
        if team.leads:  # what all have alike is counted once
            objective = objective + reg_item * (times * penalised.square()).sum()
        grad_q[:, : penalised.shape[1]].addcmul_(times, penalised, value=2 * reg_item)

    grad_P, of_E = users.sums(grad_p), None
    for column in model.constant_columns:
        grad_P[:, column] = 0
    of_Q = None if Q is None else items.gradient(grad_q[:, : Q.shape[1]])
    if E is not None and C is not None:
        share = of_z[team.part] if each_item else of_z
        transposed = torch.mm(share[:, visual].T, C, out=gather.memory("grad_E", E.shape[1], len(E), E))  # (K, D)
        grad_E = team.sum(transposed).T
        if EM is not None:
            grad_E.addmm_(*EM)
        if reg_E:
            if team.leads:
                objective = objective + reg_E * E.square().sum()
            grad_E.add_(E, alpha=2 * reg_E)
        of_E = RowGradient(None, grad_E)
    return Gradients(users.gradient(grad_P), of_Q, of_E, Losses(bpr, adversarial, objective))
