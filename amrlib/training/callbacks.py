"""What follows a training as it goes: what is called after every epoch, and the file that a stopped run goes on from."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from torch import Generator, Tensor

from ..checks import require, whole_number
from ..datasets.dataset import Dataset, digest
from ..evaluation.ranks import held_out_ranks, hr, ndcg
from ..protocols import ALONE, Alone
from ..tensor_files import read_tensors, write_tensors
from .trainer import PairwiseTrainer

RESTART = "delete it to start again"


class Callback(Protocol):
    """Anything with this method; ``fit(callbacks=[…])`` takes as many as you like."""

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> str | None:
        """``row`` is the epoch's line of the history: read it, or add to it. A word ends the training: ``stopped``."""


def run_callbacks(callbacks: Iterable[Callback], model: Any, row: dict[str, Any]) -> str | None:
    """Call each of them; the first word that one of them gave, if any."""
    return next(filter(None, [callback.on_epoch_end(model, row) for callback in callbacks]), None)


class EarlyStopping:
    """Ranks the held-out items of a ``Dataset.validation_split`` every so many epochs, and at the ``last`` one; remembers
    the best parameters, and stops after ``patience`` rankings without better ones. ``fit(validation=True)`` is a user of it."""

    def __init__(self, held_out: Dataset, every: int = 10, patience: int | None = None, last: int = 0, team: Alone = ALONE):
        self.held_out, self.every, self.last, self.team = held_out, whole_number(every, "every", 1), last, team
        self.patience = None if patience is None else whole_number(patience, "patience", 1)
        self.scores: list[float] = []  # NDCG@10 of every ranking so far
        self.best: dict[str, Tensor] = {}  # the parameters at the first of the highest

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> str | None:
        if row["epoch"] == 1:
            self.scores, self.best = [], {}  # another training, perhaps of another model
        if row["epoch"] % self.every and row["epoch"] != self.last:
            return None
        ranks = held_out_ranks(model.user_vectors(), model.item_vectors(), self.held_out, team=self.team)
        row |= {"hr@10": hr(ranks, 10), "ndcg@10": ndcg(ranks, 10)}
        if row["ndcg@10"] > self.best_score:
            self.best = {name: theta.clone() for name, theta in model.parameters().items()}
        self.scores.append(row["ndcg@10"])
        return "patience" if self.exhausted else None

    @property
    def best_score(self) -> float:
        return max(self.scores, default=-1.0)

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.best_score in self.scores[: -self.patience]

    def restore(self, model: Any) -> None:
        """Give the model its best parameters back."""
        for name, theta in self.best.items():
            model.parameters()[name].detach().copy_(theta)


class Checkpoint:
    """A file of one run: parameters, the optimiser, the random state, the best parameters so far, the history. What makes it
    this run and no other is its ``identity``, which is compared when the file is read: settings, those of the model among
    them, and digests of the data and of the parameters it began with. ``features="other"`` lets other features pass.

    The random state is that of ``draws``, for order and negatives, and of the trainer's own generator where it has one."""

    def __init__(self, path: Any, model: Any, step: PairwiseTrainer, early: EarlyStopping, run: dict, features: str,
                 draws: Generator) -> None:  # fmt: skip
        self.path, self.model, self.step, self.early, self.features = Path(path).resolve(), model, step, early, features
        self.draws = {"generator": step.generator} | ({} if draws is step.generator else {"order": draws})
        start, (file, began, left) = self._stand(), model.last_run
        if (file, left) == (self.path, start) and self.path.exists():  # where that run left this very model: the same run
            start = began
        settings = {k: digest(v.cpu().numpy()) if isinstance(v, Tensor) else v for k, v in model.get_params().items()}
        table = model.data.feature_table if model.uses_features else None
        identity = dict(model=type(model).__name__, **settings, train=model.data.train_digest, ids=model.data.ids_digest,
                        features=table and table.fingerprint, start=start)  # fmt: skip
        self.identity = json.loads(json.dumps(identity | run | {"draws": list(self.draws)}, default=str))

    def write(self, history: list[dict[str, Any]]) -> None:
        tensors = self._tensors() | {f"best.{name}": theta for name, theta in self.early.best.items()}
        tensors |= {name: generator.get_state() for name, generator in self.draws.items()}
        write_tensors(self.path, dict(identity=self.identity, history=history, device=self.model.P.device.type), tensors)

    def read(self, epochs: int) -> list[dict[str, Any]]:
        """Put everything back; the history so far, empty when there is no file yet. A file that cannot be read, of another
        version, another run, or more than so many epochs is a ValueError; nothing has been changed then."""
        if not self.path.exists():
            return []
        header, tensors = read_tensors(self.path, "a checkpoint", ("identity", "history", "device"), RESTART)
        self._compare({"reg_form": "combined", "draws": ["generator"]} | header["identity"])  # which older files do not say
        history, device, anew = header["history"], self.model.P.device, self.identity["seed"] + len(header["history"])
        require(len(history) <= epochs, f"checkpoint {self.path} is {len(history)} epochs old already, epochs={epochs}; "
                                        f"ask for more, or {RESTART}")  # fmt: skip
        for name, tensor in self._tensors().items():
            tensor.copy_(tensors[name])
        self.early.best = {name[5:]: theta.to(device) for name, theta in tensors.items() if name.startswith("best.")}
        self.early.scores = [row["ndcg@10"] for row in history if "ndcg@10" in row]
        for name, g in self.draws.items():
            g.set_state(tensors[name]) if header["device"] == device.type else g.manual_seed(anew)
        if header["device"] != device.type:
            warnings.warn(f"checkpoint {self.path} was begun on {header['device']} and goes on on {device.type}: "
                          "order and negatives are drawn anew from here", stacklevel=5)  # fmt: skip
        return history

    def leave(self) -> None:
        """Let the model know where the run has left it, so that this very model can go on with it."""
        self.model.last_run = (self.path, self.identity["start"], self._stand())

    def _tensors(self) -> dict[str, Tensor]:
        """What steps change: the very tensors, by the names they have in the file."""
        return self.model.parameters() | {f"optimizer.{name}": state for name, state in self.step.optimizer.state.items()}

    def _stand(self) -> str:
        return digest(*(theta.detach().cpu().contiguous().numpy() for theta in self.model.parameters().values()))

    def _compare(self, theirs: dict[str, Any]) -> None:
        for k, ours in self.identity.items():
            if theirs.get(k) == ours or (k, self.features) == ("features", "other"):
                continue
            what = f"its {k} is {theirs.get(k)!r}, here it is {ours!r}"
            if k == "start":
                what = "it began with other parameters, as of another seed or warm start, or trained further since"
            if k == "features":
                what = (f"it was begun with other features ({theirs[k]}, here {ours}); go on with fit(features=\"other\"), or "
                        "copy along those it had: a network's features differ in the last bits between processors")  # fmt: skip
            raise ValueError(f"checkpoint {self.path} is of another run: {what}; name another file, or {RESTART}")
