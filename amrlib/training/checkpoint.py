"""A run that was stopped goes on from its file, and ends as if it had never stopped."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic_files import write_atomically
from .callbacks import EarlyStopping
from .trainer import PairwiseTrainer

__all__ = ["Checkpoint"]

FORMAT = 2


class Checkpoint:
    """A safetensors file of one run: parameters, the optimiser, the random state, the history.

    Parameters
    ----------
    path : Path
    identity : dict
        What makes the run this run and no other: settings, and fingerprints of the data and of the start. Compared when the
        file is read.
    features : "same" or "other"
        ``"other"`` goes on although the features have changed.
    """

    def __init__(self, path: Path, identity: dict[str, Any], features: str = "same") -> None:
        if path.is_dir():
            raise ValueError(f"checkpoint {path} is a folder; name a file in it")
        self.path, self.features = path, features
        self.identity = json.loads(json.dumps(identity))

    def write(
        self, step: PairwiseTrainer, early: EarlyStopping | None, history: list[dict[str, Any]], generator: torch.Generator
    ) -> None:
        from safetensors.torch import save as to_bytes

        tensors = {**step.optimizer.parameters, "generator": generator.get_state()}
        tensors |= {f"optimizer.{k}": v for k, v in step.optimizer.state.items()}
        meta: dict[str, Any] = dict(format=FORMAT, identity=self.identity, history=history, device=generator.device.type)
        if early is not None:
            tensors |= {f"best.{k}": v for k, v in early.best.items()}
            meta |= dict(best_score=early.best_score, since_best=early.since_best)
        data = to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"amrlib": json.dumps(meta)})
        write_atomically(self.path, data)

    def read(
        self, step: PairwiseTrainer, early: EarlyStopping | None, generator: torch.Generator, epochs: int
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Put everything back; the history so far, empty when there is no file yet.

        Raises
        ------
        ValueError
            A file that cannot be read, of another version, of another run, or of more than so many epochs; nothing has been
            changed then.
        """
        if not self.path.exists():
            return []
        tensors, meta = self._open()
        history = meta["history"]
        if len(history) > epochs:
            raise ValueError(f"checkpoint {self.path} is {len(history)} epochs old already, epochs={epochs}; "
                             "ask for more, or delete it to start again")  # fmt: skip
        for name, theta in step.optimizer.parameters.items():
            theta.copy_(tensors[name])
        for name, state in step.optimizer.state.items():
            state.copy_(tensors[f"optimizer.{name}"])
        if early is not None:
            early.best = {k[5:]: v.to(step.model.P.device) for k, v in tensors.items() if k.startswith("best.")}
            early.best_score, early.since_best = meta["best_score"], meta["since_best"]
        if meta["device"] == generator.device.type:
            generator.set_state(tensors["generator"])
        else:
            warnings.warn(f"checkpoint {self.path} was begun on {meta['device']} and goes on on {generator.device.type}: "
                          "order and negatives are drawn anew from here", stacklevel=5)  # fmt: skip
            generator.manual_seed(self.identity["seed"] + len(history))
        return history

    def _open(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                meta = json.loads((file.metadata() or {})["amrlib"])
                if "model" in meta:
                    raise ValueError("it is a saved model")
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"checkpoint {self.path} cannot be read ({error}); delete it to start again") from None
        if meta.get("format") != FORMAT:
            raise ValueError(f"checkpoint {self.path} was written by another version of amrlib; delete it to start again")
        theirs = meta["identity"]
        different = [k for k, v in self.identity.items() if theirs.get(k) != v]
        if different == ["features"]:
            if self.features == "other":
                return tensors, meta
            raise ValueError(
                f"checkpoint {self.path} was begun with other features ({theirs['features']}, here "
                f"{self.identity['features']}); go on with fit(features=\"other\"), or copy along the cached features it was "
                "begun with: a network's features differ in the last bits between processors"
            )
        if different:
            k = different[0]
            what = "it began with other parameters, as of another seed or warm start, or trained further since"
            if k != "start":
                what = f"its {k} is {theirs.get(k)!r}, here it is {self.identity[k]!r}"
            raise ValueError(f"checkpoint {self.path} is of another run: {what}; "
                             "name another file, or delete it to start again")  # fmt: skip
        return tensors, meta
