"""The loop over epochs: order, negatives, batches, and what happens after each epoch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..checks import whole_number
from ..datasets.dataset import Dataset
from ..negatives import NegativeSampler
from ..progress import progress_bar
from .callbacks import Callback, EarlyStopping, run_callbacks
from .checkpoint import Checkpoint
from .compiled.host_gather import MappedGather
from .trainer import PairwiseTrainer, trainer_class


def train(
    model: Any, dataset: Dataset, *, epochs: int = 20, batch_size: int = 512, lr: float | Sequence[float] = 0.05,
    reg: float | Sequence[float] = 0.0, seed: int = 0, optimizer: str = "adagrad", negatives: str = "uniform",
    validation: bool = False, patience: int | None = None, every: int = 10, checkpoint: str | Path | None = None,
    progress: bool = True, trainer: str | type[PairwiseTrainer] = "auto", callbacks: Sequence[Callback] = (),
    features: str = "same",
) -> pd.DataFrame:  # fmt: skip
    """Train a bound ``model`` in place on shuffled triples; the models' ``fit`` hands over to this.

    Parameters
    ----------
    epochs, batch_size : int
        Each epoch visits every training row once, in a new order with new negatives; the last, smaller batch counts too.
    lr, reg, optimizer : see :class:`PairwiseTrainer`
    seed : int
        Order and negatives; the same seed on the same device gives the same parameters bit for bit (on a card, ``"autograd"``
        adds in no fixed order). Another ``fit`` begins with a fresh optimiser, this order again, and a new history.
    negatives : ``"uniform"`` or ``"popularity"``
    validation : bool
        Hold one training item of each user out (:meth:`Dataset.validation_split`), rank it every ``every`` epochs, and end
        with the parameters that had the best NDCG@10. The test items stay unseen.
    patience : int, optional
        With ``validation``: stop after that many rankings without a better one.
    checkpoint : path, optional
        A file, written every ``every`` epochs and at the end; when it exists and belongs to this run, training goes on from
        it and ends as if it had never stopped.
    trainer : ``"auto"``, ``"closed_form"``, ``"autograd"``, ``"compiled"``, or a class
        What takes the steps. ``"compiled"``, for a CPU, needs numba, and compiles for some seconds the first time;
        ``"auto"`` takes it where it can, and ``history.attrs["trainer"]`` says which it was. They differ in the last digits.
    callbacks : sequence of :class:`Callback`
    features : ``"same"`` or ``"other"``
        Whether a checkpoint may have been begun with other features.

    Returns
    -------
    DataFrame, one row an epoch: ``epoch``, ``bpr`` and ``adversarial`` (mean per triple), ``objective``, and with
    ``validation`` ``hr@10`` and ``ndcg@10`` where they were ranked. ``attrs["stopped"]`` is "done", "patience", a callback's
    word, or "interrupted" (Ctrl-C, which keeps the best parameters so far).

    Raises
    ------
    ValueError
        Settings out of range, a checkpoint of another run.
    FloatingPointError
        The loss is no longer finite: lower ``lr``. Where validation had best parameters, the model has them again.
    """
    epochs, batch_size = whole_number(epochs, "epochs", 1), whole_number(batch_size, "batch_size", 1)
    every, seed = whole_number(every, "every", 1), whole_number(seed, "seed", 0)
    if patience is not None and not validation:
        raise ValueError("patience needs validation=True: without it there is nothing to wait for")
    device = model.P.device
    early = None
    if validation:
        dataset = dataset.validation_split(seed)
        if not len(dataset.test_users):
            raise ValueError("validation needs a user with two different training items, and there is none; "
                             "leave validation=False")  # fmt: skip
        early = EarlyStopping(dataset, every, patience, last=epochs)
    generator = torch.Generator(device).manual_seed(seed)
    sampler = NegativeSampler(dataset, device, negatives, allow_full=True)
    all_users, all_pos = _training_rows(dataset, sampler)  # (n,), (n,)
    step = trainer_class(trainer, model, optimizer)(model, lr, reg, optimizer, generator=generator)
    step.checks_ids = False  # the data set's ids are in range
    history: list[dict[str, Any]] = []
    saved = None
    if checkpoint is not None:
        path, run = Path(checkpoint).resolve(), dict(batch_size=batch_size, lr=step.lr, reg=step.reg, seed=seed)
        run |= dict(optimizer=optimizer, negatives=negatives, validation=validation)
        saved = Checkpoint(path, model.identity(path) | run, features)
        history = saved.read(step, early, generator, epochs)
    if validation and model.Q is not None:  # an item whose only interaction is held out is cold in this run
        model.Q[torch.tensor(dataset.cold, device=device)] = 0

    mapped = model.E is not None and isinstance(dataset.features, np.memmap) and model.feature_dtype is None  # not a copy
    if mapped and device.type == "cpu":
        step.gather = MappedGather()
    watchers = [*([] if early is None else [early]), *callbacks]
    stopped = "patience" if early is not None and early.exhausted else "done"
    bar = progress_bar(range(len(history), epochs if stopped == "done" else 0), type(model).__name__, progress,
                       initial=len(history), total=epochs, unit="epoch")  # fmt: skip
    try:
        for epoch in bar:
            order = torch.randperm(len(all_users), generator=generator, device=device)
            users, pos = all_users[order], all_pos[order]  # (n,), (n,)
            neg = sampler(users, generator)
            both = torch.stack([pos, neg]).cpu() if step.gather.fetches else None  # (2, n)
            sums = torch.zeros(3, dtype=torch.float64, device=device)  # on the device: no wait inside an epoch
            for start in range(0, len(order), batch_size):
                batch, following = slice(start, start + batch_size), slice(start + batch_size, start + 2 * batch_size)
                if both is not None:
                    for part in (batch, following) if start == 0 else (following,):
                        step.gather.fetch(model.features, pos[part], neg[part], both[:, part].flatten())
                sums += torch.stack(step.step(users[batch], pos[batch], neg[batch]))
            bpr, adversarial, objective = (sums / len(order)).tolist()
            if not np.isfinite(objective):
                raise FloatingPointError(f"the loss is no longer finite at epoch {epoch + 1}; lower lr={lr!r}")
            row = dict(epoch=epoch + 1, bpr=bpr, adversarial=adversarial, objective=objective)
            history.append(row)
            word = run_callbacks(watchers, model, row)
            bar.set_postfix_str(f"loss {bpr:.4f}", refresh=False)
            if saved is not None and (word or (epoch + 1) % every == 0 or epoch + 1 == epochs):
                saved.write(step, early, history, generator)
            if word:
                stopped = word
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        bar.close()
        if early is not None:
            early.restore(model)
        if saved is not None:
            model.leave_run(saved.path, saved.identity["start"])
        step.gather.close()
    table = pd.DataFrame(history)
    table.attrs |= {"stopped": stopped, "trainer": step.name}
    return table


def _training_rows(dataset: Dataset, sampler: NegativeSampler) -> tuple[Tensor, Tensor]:
    """Users and items of the training rows, less those of users for whom there is no negative."""
    rows = dataset.train
    if len(sampler.full):
        if np.isin(rows[:, 0], sampler.full).all():
            raise ValueError("every user of train has touched every warm item, so there is nothing they did not choose to "
                             "learn from; take in more items, or more users")  # fmt: skip
        first = dataset.user_ids[sampler.full[:1]].tolist()[0]
        warnings.warn(f"{len(sampler.full)} users have touched every warm item ({first!r} first), so there is nothing they "
                      "did not choose: left out of the training", stacklevel=5)  # fmt: skip
        rows = rows[~np.isin(rows[:, 0], sampler.full)]
    if not len(rows):
        raise ValueError("train has no rows to learn from")
    users, items = (torch.tensor(rows[:, column], device=sampler.length.device) for column in (0, 1))
    return users, items
