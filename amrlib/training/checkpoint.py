"""A run that was stopped goes on from its file, and ends as if it had never stopped."""

import json
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import require
from ..datasets.dataset import digest
from ..tensor_files import read_tensors, write_tensors
from .callbacks import EarlyStopping
from .trainer import PairwiseTrainer

RESTART = "delete it to start again"


class Checkpoint:
    """A file of one run: parameters, the optimiser, the random state, the best parameters so far, the history.

    What makes the run this run and no other is its ``identity``: settings, those of the model among them, and digests of the
    data and of the parameters it began with. It is compared when the file is read; ``features="other"`` goes on although the
    features have changed."""

    def __init__(
        self, path: str | Path, model: Any, step: PairwiseTrainer, early: EarlyStopping, run: dict[str, Any], features: str
    ) -> None:
        self.path, self.model, self.step, self.early, self.features = Path(path).resolve(), model, step, early, features
        start, (file, began, left) = self._stand(), model.last_run
        if (file, left) == (self.path, start) and self.path.exists():  # where that run left this very model: the same run
            start = began
        settings = {k: digest(v.cpu().numpy()) if isinstance(v, Tensor) else v for k, v in model.get_params().items()}
        table = model.data.feature_table if model.uses_features else None
        identity = dict(model=type(model).__name__, **settings, train=model.data.train_digest, ids=model.data.ids_digest,
                        features=table and table.fingerprint, start=start)  # fmt: skip
        self.identity = json.loads(json.dumps(identity | run, default=str))

    def write(self, history: list[dict[str, Any]]) -> None:
        tensors = self._tensors() | {f"best.{name}": theta for name, theta in self.early.best.items()}
        tensors["generator"] = self.step.generator.get_state()
        header = dict(identity=self.identity, history=history, device=self.step.generator.device.type)
        write_tensors(self.path, header, tensors)

    def read(self, epochs: int) -> list[dict[str, Any]]:
        """Put everything back; the history so far, empty when there is no file yet. A file that cannot be read, of another
        version, another run, or more than so many epochs is a ValueError; nothing has been changed then."""
        if not self.path.exists():
            return []
        header, tensors = read_tensors(self.path, "a checkpoint", ("identity", "history", "device"), RESTART)
        self._compare(header["identity"])
        history, generator = header["history"], self.step.generator
        require(len(history) <= epochs, f"checkpoint {self.path} is {len(history)} epochs old already, epochs={epochs}; "
                                        f"ask for more, or {RESTART}")  # fmt: skip
        for name, tensor in self._tensors().items():
            tensor.copy_(tensors[name])
        best = {name.removeprefix("best."): theta for name, theta in tensors.items() if name.startswith("best.")}
        self.early.best = {name: theta.to(generator.device) for name, theta in best.items()}
        self.early.scores = [row["ndcg@10"] for row in history if "ndcg@10" in row]
        if header["device"] == generator.device.type:
            generator.set_state(tensors["generator"])
        else:
            warnings.warn(f"checkpoint {self.path} was begun on {header['device']} and goes on on {generator.device.type}: "
                          "order and negatives are drawn anew from here", stacklevel=5)  # fmt: skip
            generator.manual_seed(self.identity["seed"] + len(history))
        return history

    def leave(self) -> None:
        """Let the model know where the run has left it, so that this very model can go on with it."""
        self.model.last_run = (self.path, self.identity["start"], self._stand())

    def _tensors(self) -> dict[str, Tensor]:
        """What steps change: the very tensors, by the names they have in the file."""
        optimizer = self.step.optimizer
        return optimizer.parameters | {f"optimizer.{name}": state for name, state in optimizer.state.items()}

    def _stand(self) -> str:
        return digest(*(theta.detach().cpu().contiguous().numpy() for theta in self.model.parameters().values()))

    def _compare(self, theirs: dict[str, Any]) -> None:
        for k, ours in self.identity.items():
            if theirs.get(k) == ours or (k, self.features) == ("features", "other"):
                continue
            what, remedy = f"its {k} is {theirs.get(k)!r}, here it is {ours!r}", f"name another file, or {RESTART}"
            if k == "start":
                what = "it began with other parameters, as of another seed or warm start, or trained further since"
            if k == "features":
                what = f"it was begun with other features ({theirs[k]}, here {ours})"
                remedy = ("go on with fit(features=\"other\"), or copy along the cached features it had: a network's "
                          "features differ in the last bits between processors")  # fmt: skip
            raise ValueError(f"checkpoint {self.path} is of another run: {what}; {remedy}")
