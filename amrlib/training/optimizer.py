"""Adagrad and Adam for tables of which a batch touches some rows."""

import torch

from ..checks import one_of, require
from .gradients import Gradients


class Optimizer:
    """Adagrad as the authors' program has it (accumulator from 0.1, no ε), or Adam; touched rows only."""

    def __init__(self, parameters: dict[str, torch.Tensor], lr: dict[str, float], kind: str, initial: float) -> None:
        one_of(kind, "optimizer", ("adagrad", "adam"))
        require(initial > 0, f"initial_accumulator must be above 0, not {initial!r}")  # the first step divides by its root
        self.parameters, self.lr, self.kind = parameters, lr, kind
        self.state = {name: torch.full_like(theta, initial if kind == "adagrad" else 0) for name, theta in parameters.items()}
        self.root: dict[str, torch.Tensor] = {}  # memory for √v
        if kind == "adam":
            self.state |= {f"{name}.m": torch.zeros_like(theta) for name, theta in parameters.items()}
            self.state["t"] = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def step(self, gradients: Gradients) -> None:
        """Move P, Q and E against their gradients."""
        if self.kind == "adam":
            self.state["t"] += 1
        for name in ("E", "Q", "P"):
            if (gradient := getattr(gradients, name)) is not None:
                (self._adagrad if self.kind == "adagrad" else self._adam)(name, gradient.values, gradient.ids)

    def _adagrad(self, name: str, gradient: torch.Tensor, rows: torch.Tensor | None) -> None:
        """v ← v + g²;  θ ← θ − η g / √v. A row that stands there twice has the same gradient each time: moved once."""
        theta, v, lr = self.parameters[name], self.state[name], self.lr[name]
        if rows is None:
            self.root[name] = root = torch.sqrt(v.addcmul_(gradient, gradient), out=self.root.get(name))
            theta.addcdiv_(gradient, root, value=-lr)
            return
        v_rows = v.index_select(0, rows).addcmul_(gradient, gradient)
        v.index_copy_(0, rows, v_rows)
        theta.index_copy_(0, rows, theta.index_select(0, rows).addcdiv_(gradient, v_rows.sqrt_(), value=-lr))

    def _adam(self, name: str, gradient: torch.Tensor, rows: torch.Tensor | None) -> None:
        """m ← .9 m + .1 g;  v ← .999 v + .001 g²;  θ ← θ − η m̂ / (√v̂ + 1e-8)."""
        theta, v, m, lr = self.parameters[name], self.state[name], self.state[f"{name}.m"], self.lr[name]
        t = self.state["t"].item()
        touched = slice(None) if rows is None else rows
        m[touched] = m_rows = m[touched] * 0.9 + 0.1 * gradient
        v[touched] = v_rows = v[touched] * 0.999 + 0.001 * gradient * gradient
        theta[touched] = theta[touched] - lr * (m_rows / (1 - 0.9**t)) / ((v_rows / (1 - 0.999**t)).sqrt() + 1e-8)
