"""`sweeps/dz_wd.yaml` as a PyTorch user writes it from Ray Tune's documentation: the baseline of `tune_main.py`.

    python -m benchmarks.plain_tune --storage FOLDER [--trials 24] [--epochs 30]

A function trainable, a process for each trial on one core, ASHA, stock OptunaSearch on val_acc, Ray's default loggers
and dashboard. The network, the quantizer and the loop are the literature's; data, batch size, search space, seed and
rungs are those of `sweeps/dz_wd.yaml`. It is faster than typical code: the data is loaded once, passed to the trials
as tensors (`tune.with_parameters`), and no checkpoints are written.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.reference.networks import Mlp
from benchmarks.reference.quantizer import attach
from benchmarks.reference.training import adamw, evaluate, sparsity, train_epoch

SPACE = {
    "base_lr": tune.loguniform(2e-3, 2e-2),
    "dz_lr": tune.loguniform(5e-4, 1e-2),
    "dz_weight_decay": tune.loguniform(0.1, 50.0),
    "group_lasso": tune.loguniform(1e-5, 1e-2),
}

Split = tuple[NDArray[np.float32], NDArray[np.int64]]


def load_splits() -> tuple[Split, Split]:
    """Return normalized 8x8 digits: a fifth is for testing, 70 % of the rest for training and 30 % for validation."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images[:, None].astype(np.float32)
    kept, _, kept_labels, _ = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    train, val, train_labels, val_labels = train_test_split(
        kept, kept_labels, test_size=0.3, stratify=kept_labels, random_state=0
    )
    mean, std = train.mean(), train.std()
    return ((train - mean) / std, train_labels), ((val - mean) / std, val_labels)


def train_digits(config: dict[str, Any], data: tuple[Split, Split], epochs: int) -> None:
    """Train one trial and report every epoch."""
    train_set, val_set = (TensorDataset(torch.tensor(images), torch.tensor(labels)) for images, labels in data)
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, batch_size=512)
    model = Mlp(in_features=64)
    attach(model, learnable_bit=False, fixed_bit_val=4)
    dz = {"lr": config["dz_lr"], "weight_decay": config["dz_weight_decay"]}
    optimizer = adamw(model, base={"lr": config["base_lr"], "weight_decay": 0.0}, dz=dz, bit={})
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    lasso = config["group_lasso"]
    for epoch in range(1, epochs + 1):
        loss, train_acc = train_epoch(model, train_loader, optimizer, lambda_linear=lasso, lambda_conv=lasso)
        schedule.step()
        val_acc = evaluate(model, val_loader)
        tune.report(
            {"epoch": epoch, "loss": loss, "train_acc": train_acc, "val_acc": val_acc, "sparsity": sparsity(model)}
        )


def build_tuner(trials: int, epochs: int, storage: str) -> tune.Tuner:
    """Run the whole sweep."""
    trainable = tune.with_parameters(train_digits, data=load_splits(), epochs=epochs)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="val_acc",
            mode="max",
            num_samples=trials,
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(
                time_attr="training_iteration", max_t=epochs, grace_period=min(5, epochs), reduction_factor=3
            ),
        ),
        run_config=tune.RunConfig(name="plain", storage_path=storage),
    )


def main() -> None:
    """Run the command line and print the best config."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_tune", description=__doc__)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    results = build_tuner(options.trials, options.epochs, options.storage).fit()
    if results.errors:
        raise SystemExit(f"{len(results.errors)} trials failed, the first: {results.errors[0]}")
    best = results.get_best_result()
    print(best.config, best.metrics)


if __name__ == "__main__":
    main()
