"""A run that was stopped goes on from its file, and ends as if it had never stopped."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..tensor_files import read_tensors, write_tensors
from .callbacks import EarlyStopping
from .trainer import PairwiseTrainer

RESTART = "delete it to start again"


class Checkpoint:
    """A file of one run: parameters, the optimiser, the random state, the history.

    ``identity`` makes the run this run and no other: settings, and fingerprints of the data and of the start. It is compared
    when the file is read; ``features="other"`` goes on although the features have changed.
    """

    def __init__(self, path: Path, identity: dict[str, Any], features: str = "same") -> None:
        self.path, self.features, self.identity = path, features, json.loads(json.dumps(identity))

    def write(
        self, step: PairwiseTrainer, early: EarlyStopping | None, history: list[dict[str, Any]], generator: torch.Generator
    ) -> None:
        tensors = {**step.optimizer.parameters, "generator": generator.get_state()}
        tensors |= {f"optimizer.{k}": v for k, v in step.optimizer.state.items()}
        header: dict[str, Any] = dict(identity=self.identity, history=history, device=generator.device.type)
        if early is not None:
            tensors |= {f"best.{k}": v for k, v in early.best.items()}
            header |= dict(best_score=early.best_score, since_best=early.since_best)
        write_tensors(self.path, header, tensors)

    def read(
        self, step: PairwiseTrainer, early: EarlyStopping | None, generator: torch.Generator, epochs: int
    ) -> list[dict[str, Any]]:
        """Put everything back; the history so far, empty when there is no file yet.

        A file that cannot be read, of another version, another run, or more than so many epochs is a ValueError; nothing has
        been changed then.
        """
        if not self.path.exists():
            return []
        header, tensors = read_tensors(self.path, "a checkpoint", ("identity", "history", "device"), RESTART)
        self._compare(header["identity"])
        history = header["history"]
        if len(history) > epochs:
            raise ValueError(f"checkpoint {self.path} is {len(history)} epochs old already, epochs={epochs}; "
                             f"ask for more, or {RESTART}")  # fmt: skip
        for name, theta in step.optimizer.parameters.items():
            theta.copy_(tensors[name])
        for name, state in step.optimizer.state.items():
            state.copy_(tensors[f"optimizer.{name}"])
        if early is not None:
            early.best = {k[5:]: v.to(step.model.P.device) for k, v in tensors.items() if k.startswith("best.")}
            early.best_score, early.since_best = header["best_score"], header["since_best"]
        self._set_state(generator, header["device"], tensors["generator"], len(history))
        return history

    def _set_state(self, generator: torch.Generator, device: str, state: Tensor, epochs: int) -> None:
        if device == generator.device.type:
            generator.set_state(state)
            return
        warnings.warn(f"checkpoint {self.path} was begun on {device} and goes on on {generator.device.type}: "
                      "order and negatives are drawn anew from here", stacklevel=6)  # fmt: skip
        generator.manual_seed(self.identity["seed"] + epochs)

    def _compare(self, theirs: dict[str, Any]) -> None:
        different = [k for k, v in self.identity.items() if theirs.get(k) != v]
        if different == ["features"] and self.features == "same":
            raise ValueError(
                f"checkpoint {self.path} was begun with other features ({theirs['features']}, here "
                f"{self.identity['features']}); go on with fit(features=\"other\"), or copy along the cached features it was "
                "begun with: a network's features differ in the last bits between processors"
            )
        if different and different != ["features"]:
            k = different[0]
            what = f"its {k} is {theirs.get(k)!r}, here it is {self.identity[k]!r}"
            if k == "start":
                what = "it began with other parameters, as of another seed or warm start, or trained further since"
            raise ValueError(f"checkpoint {self.path} is of another run: {what}; name another file, or {RESTART}")
