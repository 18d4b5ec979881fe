"""The loop over epochs: order, negatives, batches, and what happens after each epoch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import require, whole_number
from ..datasets.dataset import Dataset
from ..negatives import NegativeSampler
from ..progress import progress_bar
from .callbacks import Callback, Checkpoint, EarlyStopping, run_callbacks
from .compiled.host_gather import MappedGather
from .trainer import PairwiseTrainer, trainer_class


def train(
    model: Any, dataset: Dataset, *, epochs: int = 20, batch_size: int = 512, lr: float | Sequence[float] = 0.05,
    reg: float | Sequence[float] = 0.0, seed: int = 0, optimizer: str = "adagrad", negatives: str = "uniform",
    validation: bool = False, patience: int | None = None, every: int = 10, checkpoint: str | Path | None = None,
    progress: bool = True, trainer: str | type[PairwiseTrainer] = "auto", callbacks: Sequence[Callback] = (),
    features: str = "same", reg_form: str = "combined",
) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
    """Train a bound ``model`` in place on shuffled triples; the models' ``fit`` hands over to this.

    Each of the ``epochs`` visits every training row once, in a new order with new ``negatives``, ``"uniform"`` or
    ``"popularity"``, in batches of ``batch_size`` and a last, smaller one. ``lr``, ``reg``, ``reg_form`` and ``optimizer`` are
    those of :class:`PairwiseTrainer`. ``seed`` is for order and negatives: the same on the same device gives equal parameters,
    bit for bit (on a card, ``"autograd"`` adds in no fixed order). Another fit begins with a fresh optimiser and this order.

    ``validation`` holds one training item of each user out (:meth:`Dataset.validation_split`), ranks it every ``every`` epochs,
    and ends with the parameters that had the best NDCG@10, after ``patience`` rankings without a better one where given. The
    test items stay unseen. ``checkpoint`` is a file, written every ``every`` epochs and at the end: where it is there and
    belongs to this run, training goes on from it and ends as if it had never stopped; with ``features="other"`` it may have
    been begun with other features. ``trainer`` takes the steps: ``"closed_form"``, ``"autograd"``, ``"compiled"``, which is for
    a CPU, needs numba, and compiles for some seconds the first time, or a class; ``"auto"`` is the compiled one where that can
    be. They differ in the last digits. ``"per_triple"``, for ``MFBPR`` on a CPU, is BPR's own way, one triple at a time with
    ``optimizer="sgd"``, and faster: :mod:`amrlib.training.compiled.per_triple`. ``callbacks`` are :class:`Callback`.

    Returns what becomes ``model.history``: rows, one an epoch, of ``epoch``, ``bpr`` and ``adversarial`` (mean per triple),
    ``objective``, and ``hr@10`` and ``ndcg@10`` where ranked; and attrs: ``"trainer"``, and ``"stopped"``, which is "done",
    "patience", a callback's word, or "interrupted" (Ctrl-C). Settings out of range and a checkpoint of another run are
    ValueErrors, a loss that is no longer finite a FloatingPointError; the best parameters so far are kept."""
    epochs, batch_size = whole_number(epochs, "epochs", 1), whole_number(batch_size, "batch_size", 1)
    every, seed = whole_number(every, "every", 1), whole_number(seed, "seed", 0)
    require(validation or patience is None, "patience needs validation=True: without it there is nothing to wait for")
    device = model.P.device
    if validation:
        dataset = dataset.validation_split(seed)
        require(len(dataset.test_users), "validation needs a user with two different training items; leave validation=False")
    sampler = NegativeSampler(dataset, device, negatives, allow_full=True)
    all_users, all_pos = _training_rows(dataset, sampler)  # (n,), (n,)
    generator = torch.Generator(device).manual_seed(seed)
    step = trainer_class(trainer, model, optimizer)(model, lr, reg, optimizer, generator=generator, reg_form=reg_form)
    step.checks_ids = False  # the data set's ids are in range
    run = dict(batch_size=batch_size, lr=step.lr, reg=step.reg, reg_form=reg_form, seed=seed, optimizer=optimizer,
               negatives=negatives, validation=validation)  # fmt: skip
    early = EarlyStopping(dataset, every, patience, epochs, step.team)
    saved = None if checkpoint is None else Checkpoint(checkpoint, model, step, early, run, features, generator)
    history = [] if saved is None else saved.read(epochs)
    if validation and model.Q is not None:  # an item whose only interaction is held out is cold in this run
        model.Q[torch.tensor(dataset.cold, device=device)] = 0
    if isinstance(dataset.features, np.memmap) and model.E is not None and model.feature_dtype is None and device.type == "cpu":
        step.gather = MappedGather()  # the model's features are the file itself, no copy
    watchers = [early, *callbacks] if validation else callbacks
    word = "patience" if early.exhausted else None
    bar = progress_bar(range(len(history) + 1, 0 if word else epochs + 1), type(model).__name__, progress,
                       initial=len(history), total=epochs, unit="epoch")  # fmt: skip
    try:
        for epoch in bar:
            sums = step.new_epoch(all_users, all_pos, sampler, batch_size, generator)  # (3,)
            bpr, adversarial, objective = (sums / len(all_users)).tolist()
            if not np.isfinite(objective):
                raise FloatingPointError(f"the loss is no longer finite at epoch {epoch}; lower lr={lr!r}")
            history.append(dict(epoch=epoch, bpr=bpr, adversarial=adversarial, objective=objective))
            word = step.team.agree(run_callbacks(watchers, model, history[-1]))
            bar.set_postfix_str(f"loss {bpr:.4f}", refresh=False)
            if saved is not None and step.team.leads and (word or epoch % every == 0 or epoch == epochs):
                saved.write(history)
            if word:
                break
    except KeyboardInterrupt:
        word = "interrupted"
    finally:
        bar.close()
        early.restore(model)
        if saved is not None:
            saved.leave()
        step.gather.close()
    return history, {"stopped": word or "done", "trainer": step.name}


def _training_rows(dataset: Dataset, sampler: NegativeSampler) -> list[torch.Tensor]:
    """Users and items of the training rows, less those of users for whom there is no negative."""
    rows = dataset.train
    require(len(rows), "train has no rows to learn from")
    if len(sampler.full):
        rows = rows[~np.isin(rows[:, 0], sampler.full)]
        require(len(rows), "every user of train has touched every warm item, so there is nothing they did not choose to learn "
                           "from; take in more items, or more users")  # fmt: skip
        warnings.warn(f"{len(sampler.full)} users have touched every warm item ({dataset.user_ids[sampler.full].tolist()[0]!r} "
                      "first), so there is nothing they did not choose: left out of the training", stacklevel=5)  # fmt: skip
    return [torch.tensor(rows[:, column], device=sampler.length.device) for column in (0, 1)]
