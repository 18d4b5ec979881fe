"""Settings of the models for a shop, chosen on validation interactions within so many minutes.

>>> record = tune(shop, minutes=20, file="tuning.json")  # call it again to go on
>>> record["chosen"]["VBPR"]
{'start': 'afresh', 'lr': 0.02, 'reg': [0.1, 0.1, 0.0], 'ndcg@10': 0.0382, 'epochs': 240}
>>> model = fit_chosen(shop, record, "VBPR")

One training interaction of each user who has two or more is held out (``Dataset.validation_split``); a trial's score is its
best NDCG@10 under full ranking, averaged over the splits, and its number of epochs the one at which that best was reached,
averaged too. The test items are taken out before anything begins. Every trial is stored, and drawn by :func:`draw`, so that
one sees how flat or steep the choice was.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import amrlib
from amrlib import Dataset
from amrlib.atomic_files import write_atomically
from amrlib.progress import progress_bar

from .trials import BEST_BY, MODELS, NEEDS, Starts, grid_of, run_trial


def tune(
    shop: Dataset,
    models: Sequence[str] | None = None,
    minutes: float | None = 20,
    file: str | Path = "tuning.json",
    splits: Sequence[int] = (0, 1),
    seed: int = 0,
    grids: dict[str, list[dict[str, Any]]] | None = None,
    progress: bool = True,
    limit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Try settings until the time is up, and keep every trial in ``file``; called again, it goes on with those that are left.

    Parameters
    ----------
    models : names of :data:`MODELS`, optional
        Left out, all for which the shop has what they need. A model brings those that it may start from.
    minutes : number or None
        For this call; None tries everything. The time that is left is divided among the models that are left. A trial that
        has begun is ended, and each model has one at least. How many fit in differs from machine to machine, so which
        settings are chosen may as well, until all have been tried (``record["left"]``).
    file : path
    splits : seeds of the validation splits
    seed : int
        Draws the order in which the settings are tried, so that trials cut short are spread over the grid.
    grids : settings to try instead of :func:`grid_of`, by model; optional
    limit : words of ``fit`` for all trials instead of those of :data:`amrbook.trials.LIMIT`, as ``epochs`` or ``device``

    Returns
    -------
    dict
        ``chosen``: by model the best trial; ``trials``: all, in the order of the grid; ``left``: how many there still are.
        AMR is chosen by NDCG@10 under the gradient's attack at a tenth of the mean feature norm: clean accuracy would
        always favour the weakest adversary.

    Raises
    ------
    ValueError
        An unknown model, one that the shop has no features for, a file of another shop, no user to validate on.
    """
    shop = shop.replace(test=np.full(shop.n_users, -1), candidates=None)  # nothing here can know what is held out
    wanted = [m for m in MODELS if shop.features is not None or not MODELS[m].uses_features] if models is None else list(models)
    unknown = [model for model in wanted if model not in MODELS]
    if unknown:
        raise ValueError(f"models must be among {', '.join(MODELS)}, not {unknown[0]!r}")
    blind = [model for model in wanted if MODELS[model].uses_features and shop.features is None]
    if blind:
        raise ValueError(f"{blind[0]} needs item features, and this shop has none; leave it out of models=")
    if not len(shop.validation_split(0).test_users):
        raise ValueError("no user has two different training items, so there is nothing to validate on")
    if minutes is not None and not minutes >= 0:
        raise ValueError(f"minutes must be a number of at least 0, or None for no limit, not {minutes!r}")
    needed = {n for model in wanted for n in (model, *NEEDS.get(model, ()))}
    order = [model for model in MODELS if model in needed]
    path, identity = Path(file), _identity(shop, splits)
    if length := {word: limit[word] for word in ("epochs", "every", "patience") if limit and word in limit}:
        identity["limit"] = length  # what a trial is, where it is run does not matter
    record = _stored(path, identity)
    started = Starts(shop, record, limit)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    for place, model in enumerate(order):
        grid = (grids or {}).get(model) or grid_of(model, shop)
        trials = record["trials"][model] = _still_valid(model, record)
        left = [setting for setting in grid if not any(_is(trial, setting) for trial in trials)]
        rng = np.random.default_rng([seed, list(MODELS).index(model)])
        left = [left[n] for n in rng.permutation(len(left))]
        record["left"][model] = len(left)
        until = None if end is None else time.monotonic() + (end - time.monotonic()) / (len(order) - place)
        bar = progress_bar(left, model, progress, total=len(grid), initial=len(grid) - len(left))
        for done, setting in enumerate(bar):
            if until is not None and time.monotonic() >= until and trials:
                break
            trials.append(run_trial(model, shop, setting, splits, started))
            # in the order of the grid, so that of equal ones the first is chosen whatever was tried first
            trials.sort(key=lambda trial: next((n for n, setting in enumerate(grid) if _is(trial, setting)), len(grid)))
            record["chosen"][model] = max(trials, key=lambda trial: trial[BEST_BY.get(model, "ndcg@10")])
            record["left"][model] = len(left) - done - 1
            write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
        bar.close()
    return record


def _is(trial: dict[str, Any], setting: dict[str, Any]) -> bool:
    """Whether a trial was of this setting; it has scores and epochs beside it."""
    return all(key in trial and json.dumps(trial[key]) == json.dumps(value) for key, value in setting.items())


def _still_valid(model: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """A model's trials, less those that began from a model for which other settings are chosen by now."""
    sources = {name: record["chosen"][name] for name in NEEDS.get(model, ())[-1:]}
    trials: list[dict[str, Any]] = record["trials"].get(model, [])
    if record["sources"].setdefault(model, sources) == sources:
        return trials
    record["sources"][model] = sources
    return [trial for trial in trials if trial.get("start") == "afresh"]


def keep(shop: Dataset, file: Path, record: dict[str, Any], but: Sequence[str]) -> None:
    """Begin a file of trials with those of another record, less some models: they will be tried anew."""
    shop = shop.replace(test=np.full(shop.n_users, -1), candidates=None)
    parts = {part: {m: x for m, x in record[part].items() if m not in but} for part in ("chosen", "trials")}
    sources = {m: {n: record["chosen"][n] for n in NEEDS.get(m, ())[-1:]} for m in parts["trials"]}
    new = {"identity": _identity(shop, record["splits"]), **parts, "left": {}, "sources": sources}
    write_atomically(file, (json.dumps(new, indent=1) + "\n").encode())


def _identity(shop: Dataset, splits: Sequence[int]) -> dict[str, Any]:
    features = None if shop.feature_table is None else shop.feature_table.fingerprint
    return dict(train=shop.train_digest, ids=shop.ids_digest, features=features, splits=list(splits))


def _stored(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return {"identity": identity, "chosen": {}, "trials": {}, "left": {}, "sources": {}}
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in identity if record["identity"][key] != identity[key]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no file of trials; name another, or delete it to start again") from None
    if other:
        raise ValueError(f"{path} holds trials on other {' and '.join(other)}; name another file, or delete it to start again")
    return record


def fit_chosen(shop: Dataset, record: dict[str, Any], model: str, seed: int = 0, progress: bool = True) -> Any:
    """The model with its chosen settings, trained on all training rows, after those that it starts from."""
    if model not in record["chosen"]:
        raise ValueError(f"no settings are chosen for {model!r}, only for {', '.join(record['chosen'])}; tune it first")
    how = record["chosen"][model]
    if model == "MF-eALS":
        made = amrlib.MFeALS(seed=seed, **{k: how[k] for k in ("c0", "alpha", "reg")})
        return made.fit(shop, epochs=how["epochs"], progress=progress)
    rates = {"epochs": how["epochs"], "lr": how["lr"], "reg": how["reg"], "seed": seed, "progress": progress}
    source = "VBPR" if model == "AMR" else how.get("start", "afresh")
    if source == "afresh":
        return MODELS[model](seed=seed).fit(shop, **rates)
    extra = {k: how[k] for k in ("epsilon", "adv_weight") if k in how}
    start = fit_chosen(shop, record, source, seed, progress)
    return MODELS[model].warm_start(start, shop, seed=seed, **extra).fit(shop, **rates)


def draw(record: dict[str, Any], ax: Any = None) -> Any:
    """Every trial's score, a column a model, the chosen one ringed; returns the axes."""
    import matplotlib.pyplot as plt

    from .figures import style_of

    ax = ax or plt.subplots()[1]
    for place, (model, trials) in enumerate(record["trials"].items()):
        by = BEST_BY.get(model, "ndcg@10")
        scores = np.array([trial[by] for trial in trials])
        across = place + np.linspace(-0.3, 0.3, len(scores)) if len(scores) > 1 else np.array([float(place)])
        style = style_of(model)
        ax.plot(across, scores, linestyle="none", marker=style["marker"], color=style["color"], alpha=0.7)
        if len(scores):
            best = int(scores.argmax())
            ax.plot(across[best], scores[best], "o", markersize=13, markerfacecolor="none", color="#222222")
    names = [f"{model}\n(attacked)" if model in BEST_BY else model for model in record["trials"]]
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("NDCG@10 on validation")
    return ax
