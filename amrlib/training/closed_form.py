"""The gradients of a mini-batch in closed form: no autograd, and an adversary that never leaves K dimensions.

The objective of B triples (u, i, j) is the paper's eqs. (7)–(8), as its authors' program computes it::

    Σ −ln σ(ŷ_ui − ŷ_uj)  +  λ Σ −ln σ(ŷ'_ui − ŷ'_uj)
      + reg_P Σ ‖p_u‖²  +  reg_item Σ (‖q̃_i‖² + ‖q̃_j‖²)  +  reg_E ‖E‖²

where q̃ is the whole item vector; in the penalty, where that takes q and E ``apart`` (eq. 7), it is q alone. ŷ' is computed
at c + Δ, Δ_n = ε Γ_n / ‖Γ_n‖, Γ_n the gradient of the first sum with respect to c_n (added up over the batch where an item
recurs), held constant when the parameters' gradient is taken. With s_n = Σ (∂L/∂ŷ) p_u over item n's occurrences, (K,),

* Γ_n = E s_n, so ‖Γ_n‖² = s_nᵀ(EᵀE)s_n: only the K × K Gram matrix EᵀE is needed;
* EᵀΔ_n = ε (EᵀE) s_n / ‖Γ_n‖ is what the perturbation does to the item's vector;
* the adversarial loss reaches E through c_n + Δ_n with Δ_n constant, which adds
  Σ_n Δ_n s'_nᵀ = E M,  M = Σ_n (ε s_n / ‖Γ_n‖) s'_nᵀ, a K × K matrix.

So AMR adds three K × K products to VBPR's two D-dimensional ones. Those are over the B rows c_i − c_j, all that the losses
know of items; or over the batch's distinct items, where they are fewer, or a penalty asks for each one's whole vector. (A
random direction has no such short cut: its Δ is drawn, and multiplied, in D dimensions.)"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..protocols import Trainable
from .gather import FeatureGather
from .gradients import Batch, Gradients, Losses, RowGradient, Rows, distinct

NORM_FLOOR = 1e-12  # under it a gradient is taken for zero: no direction, so no perturbation


@torch.no_grad()
def gradients(
    model: Trainable, batch: Batch, reg: tuple[float, ...], apart: bool, generator: torch.Generator, gather: FeatureGather,
    sparse: bool,
) -> Gradients:
    """∂(objective)/∂(P, Q, E), and the losses; nothing in it makes a GPU wait. Implements the gradients of :eq:`eq-bpr`,
    :eq:`eq-bpr-gradient` and :eq:`eq-grad-e`, and the adversary of :eq:`eq-amr-gamma` and :eq:`eq-amr-em`.

    ``reg`` is (reg_P, reg_item, reg_E), reg_item for Q's rows if ``apart``; ``perturbation="random"`` draws from ``generator``;
    ``gather`` keeps memory. ``sparse`` gives the touched rows alone, always; otherwise all, where finding those costs more."""
    reg_P, reg_item, reg_E = reg
    P, Q, E, c, B = model.P, model.Q, model.E, model.features, len(batch.users)
    users = distinct(batch.users, P.is_cpu) if sparse or 2 * B < len(P) else Rows(batch.users, len(P))
    ij = torch.cat([batch.pos, batch.neg])  # (2B,)
    items = distinct(ij, P.is_cpu) if Q is None or E is not None or reg_item or sparse or 4 * B < len(Q) else Rows(ij, len(Q))
    ids = ij if items.ids is None else items.ids  # (U,)
    i, j, U = items.place[:B], items.place[B:], items.size

    # Item vectors: q̃_n of each of the U items, or the B differences q̃_i − q̃_j alone
    each_item = bool(reg_item and not apart) or (E is not None and U <= B)
    plus, minus = (ids, None) if each_item else (batch.pos, batch.neg)  # (R,)
    C, Z = (None, None) if E is None or c is None else gather(c, E, batch, plus, minus)  # (R, D) c_n, or c_i − c_j; (R, K) CE
    p = P.index_select(0, batch.users)  # (B, K̃)
    q = item_vectors(None if Q is None else _take(Q, plus, minus), Z, model.joint)  # (R, K̃)
    difference = _take(q, i, j) if each_item else q  # (B, K̃)

    # The BPR loss
    bpr, g, pull = _pull(p, difference)
    grad_p, grad_q = g * difference, items.sums(torch.cat([pull, -pull]))  # (B, K̃); (U, K̃)  s_n = ∂L/∂q̃_n

    # The adversary, and the loss at q̃ + EᵀΔ
    adversarial, EM = torch.zeros_like(bpr), None
    visual = slice(0 if Z is None else p.shape[1] - Z.shape[1], None)  # the columns that features reach
    if model.adv_weight > 0 and E is not None:
        r = None
        if model.perturbation == "random":
            noise = random_directions(model, ids, generator)  # (U, D)  Δ
            shift = noise @ E  # (U, K)  EᵀΔ
        else:
            r, shift = _worst_directions(grad_q[:, visual], epsilon_of(model, ids), E.T @ E)  # Δ = E r; EᵀΔ
        difference[:, visual] += _take(shift, i, j)
        adversarial, g, pull_adv = _pull(p, difference, model.adv_weight)
        s_adv = items.sums(torch.cat([pull_adv, -pull_adv]))  # (U, K̃)
        grad_p.addcmul_(g, difference)
        pull.add_(pull_adv)
        grad_q.add_(s_adv)
        EM = (noise.T, s_adv[:, visual]) if r is None else (E, r.T @ s_adv[:, visual])  # Σ_n Δ_n s'_nᵀ as a product

    # The penalties on vectors
    objective = bpr + model.adv_weight * adversarial
    if reg_P:
        objective = objective + reg_P * (p.square().sum() - B * len(model.constant_columns))
        grad_p.add_(p, alpha=2 * reg_P)
    of_z = (grad_q.clone() if apart else grad_q) if each_item else pull  # a penalty on q alone does not reach E
    if reg_item and (penalised := q if not apart else None if Q is None else Q.index_select(0, ids)) is not None:
        times = items.sums(p.new_ones(2 * B, 1))  # (U, 1)
        objective = objective + reg_item * (times * penalised.square()).sum()
        grad_q[:, : penalised.shape[1]].addcmul_(times, penalised, value=2 * reg_item)

    # From vectors to parameters
    grad_P, of_E = users.sums(grad_p), None
    for column in model.constant_columns:  # one by one: a list of them would have to be brought to the card
        grad_P[:, column] = 0
    of_Q = None if Q is None else items.gradient(grad_q[:, : Q.shape[1]])
    if E is not None and C is not None:
        out = gather.memory("grad_E", E.shape[1], len(E), E).T  # laid out as E is
        grad_E = torch.mm(C.T, of_z[:, visual], out=out)  # (D, K)
        if EM is not None:
            grad_E.addmm_(*EM)
        if reg_E:
            objective = objective + reg_E * E.square().sum()
            grad_E.add_(E, alpha=2 * reg_E)
        of_E = RowGradient(None, grad_E)
    return Gradients(users.gradient(grad_P), of_Q, of_E, Losses(bpr, adversarial, objective))


def _take(table: Tensor, plus: Tensor, minus: Tensor | None) -> Tensor:
    """Rows of a table, less others where given."""
    rows = table.index_select(0, plus)
    return rows if minus is None else rows.sub_(table.index_select(0, minus))


def _pull(p: Tensor, difference: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Σ −ln σ(x), x = p·(q̃_i − q̃_j); weight · ∂L/∂x (B, 1); and weight · ∂L/∂(q̃_i − q̃_j) (B, K̃)."""
    x = (p * difference).sum(1)  # (B,)  ŷ_ui − ŷ_uj
    g = (-weight * torch.sigmoid(-x))[:, None]
    return F.softplus(-x).sum(), g, g * p


def _worst_directions(s: Tensor, epsilon: float | Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Rows r_n = ε s_n/‖E s_n‖, so that Δ_n = E r_n has length ε, and EᵀΔ_n; 0 where there is no gradient. (U, K)"""
    gs = s @ gram  # (U, K)  EᵀΓ
    norm = (s * gs).sum(1, keepdim=True).clamp_min(0).sqrt()  # (U, 1) ‖Γ_n‖
    scale = torch.where(norm > NORM_FLOOR, epsilon * norm.clamp_min(NORM_FLOOR).reciprocal(), 0.0)
    return scale * s, gs.mul_(scale)


def random_directions(model: Trainable, items: Tensor, generator: torch.Generator) -> Tensor:
    """Random directions of length ε, one for each item: (U, D)."""
    D = 0 if model.E is None else len(model.E)
    g = torch.randn(len(items), D, generator=generator, device=model.P.device, dtype=model.P.dtype)
    return epsilon_of(model, items) * g / g.norm(dim=1, keepdim=True)


def epsilon_of(model: Trainable, items: Tensor) -> float | Tensor:
    """ε, or the items' own, (U, 1)."""
    return model.epsilon.to(model.P)[items][:, None] if isinstance(model.epsilon, Tensor) else model.epsilon


def item_vectors(q: Tensor | None, z: Tensor | None, joint: bool) -> Tensor:
    """q_i + Eᵀc_i, or [q_i ; Eᵀc_i], or the one there is."""
    if q is None or z is None:
        return q if z is None else z  # type: ignore[return-value]
    return q + z if joint else torch.cat([q, z], 1)
