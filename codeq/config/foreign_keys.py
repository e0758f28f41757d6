"""Keys in the words of W&B, Ray Tune, Optuna, Hydra and NNI, or in another section than ours, for messages."""

from __future__ import annotations

import re

from codeq.config.document import KeyPath

_WORDS = {
    "model": "arch architecture backbone net network model_name",
    "dataset": "data dataset_name",
    "epochs": "max_t max_iter max_iterations training_iteration",
    "batch_size": "bs train_batch_size per_device_train_batch_size",
    "wandb_project": "project wandb",
    "optimizer.type": "optim",
    "optimizer.param_groups": "param_groups",
    "optimizer.param_groups.base": "base optimizer.base",
    "optimizer.param_groups.dz": "dz optimizer.dz",
    "optimizer.param_groups.bit": "bit optimizer.bit",
    "optimizer.param_groups.base.lr": "lr learning_rate optimizer.lr optimizer.learning_rate",
    "optimizer.param_groups.base.weight_decay": "weight_decay wd optimizer.weight_decay",
    "optimizer.param_groups.base.momentum": "momentum optimizer.momentum",
    "optimizer.param_groups.base.betas": "betas optimizer.betas",
    "optimizer.param_groups.base.eps": "eps optimizer.eps",
    "quantizer.exclude_layers": "exclude_layers",
    "quantizer.quantize_norms": "quantize_norms",
    "sweep.name": "name study_name experiment_name experimentName experiment run_name",
    "sweep.trials": "trials num_samples n_trials num_trials max_trials run_cap maxTrialNumber max_num_trials",
    "sweep.time_budget": "time_budget timeout time_budget_s time_limit maxExperimentDuration max_duration",
    "sweep.objectives": "objectives objective metric metrics metric_name mode direction directions goal monitor",
    "sweep.constraints": "constraints constraint",
    "sweep.search": "search",
    "sweep.search.sampler": "sampler method search_alg search_algorithm algorithm tuner sweeper",
    "sweep.search.seed": "sampler_seed",
    "sweep.search.startup_trials": "startup_trials n_startup_trials n_initial_points",
    "sweep.search.warm_start": "warm_start prior_runs",
    "sweep.scheduler": "scheduler",
    "sweep.scheduler.name": "early_terminate early_stopping pruner assessor",
    "sweep.scheduler.grace_epochs": "grace_epochs grace_period min_iter n_warmup_steps",
    "sweep.scheduler.reduction_factor": "reduction_factor eta",
    "sweep.enqueue": "enqueue points_to_evaluate initial_params evaluated_configs",
    "sweep.resources": "resources resources_per_trial trainingService training_service",
    "sweep.resources.cpu": "cpu cpus num_cpus cpus_per_trial trialCpuNumber",
    "sweep.resources.gpu": "gpu gpus num_gpus gpus_per_trial trialGpuNumber",
    "sweep.resources.fuse": "fuse",
    "sweep.max_concurrent": "max_concurrent max_concurrent_trials n_jobs trialConcurrency",
    "sweep.max_failures": "max_failures failure_config max_retries",
    "sweep.keep_checkpoints": "keep_checkpoints checkpoint_config",
    "sweep.confirm": "confirm",
    "sweep.confirm.top": "top",
    "sweep.confirm.seeds": "seeds num_seeds",
    "sweep.storage": "storage storage_path local_dir upload_dir experimentWorkingDirectory",
    "sweep.study": "study storage_url",
}
VALUES = {
    "optimizer.type": "adamw",
    "sweep.objectives": "{val_acc: max}",
    "sweep.search.sampler": "tpe",
    "sweep.search": "{sampler: tpe}",
    "sweep.scheduler": "{name: asha}",
    "sweep.scheduler.name": "asha",
}
"""What to write as the value, where its form is another one in other tools."""
_OUR_KEYS = {word: ours for ours, words in _WORDS.items() for word in words.split()}
_RANGE = "epochs: {distribution: int, low: 10, high: 50}"
_OTHERS = {
    "parameters param_space search_space searchSpace search_space_file searchSpaceFile space params hyperparameters "
    "hyperparameter_search_space hydra.sweeper": f"write each distribution in place of its key's value, like {_RANGE}",
    "program command trialCommand trial_command run entrypoint": "leave it out; the file's own model is trained",
    "hydra": "leave it out; trials, sampler and folder stand below sweep",
    "defaults": "write extends: FILE",
    "entity": "write wandb_project: ENTITY/PROJECT",
    "description": "write a comment",
    "controller apiVersion kind job queue debug useAnnotation tune_config run_config":
    "leave it out; what belongs to the sweep stands below sweep",
}  # fmt: skip
_ADVICE = {word: advice for words, advice in _OTHERS.items() for word in words.split()}


def advice_for_key(path: KeyPath) -> tuple[str | None, str | None]:
    """Our dotted key for the key at `path` of a template, which we do not have, and what to write instead.

    Both None if it is not recognized, the first None if we have no such key. Recognized are keys of the top level, of
    `sweep` and of `optimizer`, and dotted ones that are to be nested.
    """
    key = ".".join(map(str, path))
    word = key.removeprefix("sweep.")
    if ours := _OUR_KEYS.get(word):
        return ours, f"write {nested(ours)}"
    if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", str(path[-1])):
        return key, f"dotted keys are for --set; write {nested(key)}"
    return None, _ADVICE.get(word)


def nested(key: str) -> str:
    """A dotted key as it stands in a file: `sweep: {search: {sampler: tpe}}`."""
    *sections, last = key.split(".")
    inside = f"{last}: {VALUES.get(key, '...')}"
    for section in reversed(sections):
        inside = f"{section}: {{{inside}}}"
    return inside
