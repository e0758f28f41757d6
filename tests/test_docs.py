"""What README and docs/ say is what happens."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from upath import UPath

from benchmarks import pictures
from benchmarks.rows import NAMES
from benchmarks.table import RESULTS, markdown, read
from codeq.config import ConfigError, Template
from codeq.config import __main__ as config_command
from codeq.config.distributions import DISTRIBUTIONS
from codeq.config.dry_run import plan
from codeq.config.run import AdamGroup, RunConfig, SgdGroup
from codeq.config.sweep import Confirm, Resources, Scheduler, Search, SweepConfig
from codeq.execution import doctor
from codeq.execution.cluster import __main__ as cluster_command
from codeq.results.advice import Advice
from codeq.results.advice.boundary_hits import BoundaryHit
from codeq.results.advice.text import advice_lines
from codeq.results.advice.ties import Accuracies, Tie
from codeq.results.front import pareto_front, ranked
from codeq.results.hypervolume import hypervolume, hypervolume_bounds
from codeq.results.trials import TrialResult
from codeq.storage.trial_folder import TrialFolder, TrialRecord
from tests.cluster import demo
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
PERFORMANCE = PAGES["performance.md"]
EVERYTHING = "\n".join([README, *PAGES.values()])
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", EVERYTHING, re.MULTILINE | re.DOTALL)
EXAMPLE = next(text for kind, text in BLOCKS if kind == "yaml")
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_two_commands_come_first() -> None:
    assert re.findall(r"^make (\w+)", BLOCKS[0][1], re.MULTILINE) == ["sweep", "test"]


def test_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_every_link_leads_somewhere() -> None:
    for folder, text in [(ROOT, README), *((ROOT / "docs", page) for page in PAGES.values())]:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            assert (folder / path).exists(), target
            headings = re.findall(r"^#+ (.*)$", (folder / path).read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def test_the_page_of_every_key_is_the_one_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert config_command.main(["keys"]) == 0
    assert capsys.readouterr().out == PAGES["every-key.md"], "make schema"


def test_every_key_of_the_schema_is_on_that_page() -> None:
    for section in (RunConfig, SweepConfig, Search, Scheduler, Resources, Confirm, AdamGroup, SgdGroup):
        for key in section.model_json_schema()["properties"]:
            assert f"| `{key}` |" in PAGES["every-key.md"], key


def test_the_picture_of_the_front_is_drawn_from_the_files_beside_it(tmp_path: Path) -> None:
    pictures.draw_front(tmp_path / "front.svg")
    drawn = (tmp_path / "front.svg").read_text()
    # Another release of matplotlib may place its marks differently; what is drawn stays the same.
    kept = (pictures.PICTURES / "front.svg").read_text()
    assert drawn.count("<use ") == kept.count("<use ") and "<!-- front -->" in kept


def test_the_picture_is_of_the_sweep_that_ships() -> None:
    template = Template.load(ROOT / "sweeps" / "dz_wd.yaml")
    with (pictures.PICTURES / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == template.sweep.trials
    for parameter in template.parameters:
        assert all(parameter.distribution.contains(float(row[parameter.name])) for row in rows), parameter.name


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([\w-]+)", EVERYTHING, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_examples_are_valid_templates(tmp_path: Path) -> None:
    decisive = ["optimizer.param_groups.base.lr", "optimizer.param_groups.dz.weight_decay"]
    (first_sweep,) = re.findall(r"^```yaml\n(.*?)^```", PAGES["first-sweep.md"], re.MULTILINE | re.DOTALL)
    for text in (EXAMPLE, first_sweep):
        (tmp_path / "example.yaml").write_text(text)
        template = Template.load(tmp_path / "example.yaml")
        assert [parameter.name for parameter in template.parameters] == decisive


def test_the_example_of_errors_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typos = {"bit_val: 4": "bit_vall: 4", "distribution: loguniform, low: 0.1": "distribution: uniform, low: -1"}
    text = EXAMPLE
    for right, wrong in typos.items():
        text = text.replace(right, wrong)
    Path("typo.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        Template.load("typo.yaml")
    shown = next(text for _, text in BLOCKS if "typo.yaml" in text)
    assert str(raised.value).splitlines() == shown.splitlines()[1:]


def test_the_example_of_a_dry_run_is_what_is_printed() -> None:
    command = "$ python tune_main.py sweeps/dz_wd.yaml --dry-run --probe"
    shown = next(text for _, text in BLOCKS if command in text).splitlines()[1:]
    planned = plan(Template.load(ROOT / "sweeps" / "dz_wd.yaml")).splitlines()
    assert shown[: len(planned)] == planned
    assert [line.split(":")[0] for line in shown[len(planned) :]] == [
        "  disk", "  an epoch of mlp_deadzone4b, batch 32", "  at once", "  time",
    ]  # fmt: skip


def test_the_example_of_advice_is_in_the_words_of_the_code() -> None:
    decay, lr = "optimizer.param_groups.dz.weight_decay", "optimizer.param_groups.dz.lr"
    advice = Advice(
        observed=24,
        epoch=5,
        importances={"val_acc": {decay: 0.47}, "sparsity": {decay: 0.83}},
        boundary_hits=[
            BoundaryHit(lr, "high", 0.01, (7, 12, 15), 9),
            BoundaryHit(decay, "low", 0.1, (0,), 9, "val_acc"),
        ],
        accuracies=Accuracies(9, 434, 0.56, (Tie((13, 17), 0.46, 0.79, 434, {"sparsity": 17}),)),
        failures=[],
    )
    shown = next(text for _, text in BLOCKS if "What mattered" in text).splitlines()
    assert shown == list(advice_lines(advice, Template.load(ROOT / "sweeps" / "dz_wd.yaml")))


def test_the_example_of_a_cluster_check_is_what_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command, *shown = next(text for _, text in BLOCKS if "$ python -m codeq.execution.cluster" in text).splitlines()
    assert cluster_command.main(command.removeprefix("$ python -m codeq.execution.cluster ").split()) == 2
    printed = capsys.readouterr().err.splitlines()
    assert shown.pop() == "..." and set(shown) <= set(printed)


def test_the_example_of_a_doctor_has_the_checks_that_are_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command, *shown = next(text for _, text in BLOCKS if "codeq.execution.doctor" in text).splitlines()
    doctor.main(command.removeprefix("$ python -m codeq.execution.doctor ").split())
    captured = capsys.readouterr()
    printed = (captured.out + captured.err).splitlines()
    assert [line.split(": ")[1] for line in shown] == [line.split(": ")[1] for line in printed]


def test_the_commands_of_a_cluster_are_those_of_its_demonstration() -> None:
    shown = next(text for _, text in BLOCKS if "ray up" in text).splitlines()
    assert shown == [
        demo.TOKEN, demo.CHECK, demo.UP, f"{demo.DASHBOARD} &", demo.JOB, demo.EXEC, demo.STATUS, demo.UPDATE,
        demo.DOWN,
    ]  # fmt: skip


def test_every_job_of_slurm_is_named_with_its_command() -> None:
    named = re.findall(r"^sbatch .*?slurm/(\w+\.sbatch)", "".join(text for _, text in BLOCKS), re.MULTILINE)
    assert set(named) == {path.name for path in (ROOT / "slurm").glob("*.sbatch")}


def test_every_distribution_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|.*\| a?n? ?", PAGES["first-sweep.md"], re.MULTILINE)) >= set(DISTRIBUTIONS)


def test_every_file_and_flag_that_is_named_exists(run_python: Run) -> None:
    for path in re.findall(r"(?:sweeps|docs|benchmarks)/[\w./]+\.(?:yaml|md|py)", EVERYTHING):
        assert path == "sweeps/x.yaml" or (ROOT / path).exists(), path
    help_text = run_python("tune_main.py", "--help").stdout + run_python("-m", "codeq.train", "--help").stdout
    for line in "".join(text for _, text in BLOCKS).splitlines():
        if "tune_main.py" in line or "codeq.train" in line:
            for flag in re.findall(r" (--[a-z\-]+)", line.partition("#")[0]):
                assert flag in help_text, line


def test_the_table_of_scores_is_made_by_the_command_beside_it(run_python: Run) -> None:
    (command,) = re.findall(r"^³ BASE (.*?)^```", README, re.MULTILINE | re.DOTALL)
    arguments = command.replace("\\\n", " ").split()
    base = ["-m", "benchmarks.seed_spread", "sweeps/dz_wd.yaml", "--set", "threads=1", "--set", "device=cpu"]
    done = run_python(*base, *arguments, "--seeds", "1")
    assert done.returncode == 0, done.stderr
    found = {line.split("%")[0].strip(): float(line.split()[2]) for line in done.stdout.splitlines()}
    assert found["val_acc"] > 95 and found["test_acc"] > 95
    assert found["sparsity"] == pytest.approx(95.6, abs=1.5)
    assert found["rel_bops"] == pytest.approx(0.55, abs=0.15)


def shown_tables() -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """The rows of the front and of the fresh seeds as README shows them, and the whole block."""
    shown = next(text for _, text in BLOCKS if "Hypervolume" in text)
    tables = []
    for table in re.split(r"^┏.*$", shown, flags=re.MULTILINE)[1:]:
        lines = re.findall("^[┃│].*$", table, re.MULTILINE)
        head, *rows = [[cell.strip() for cell in line[1:-1].split(line[0])] for line in lines]
        tables.append([dict(zip(head, row, strict=True)) for row in rows])
    front, confirmed = tables
    return front, confirmed, shown


def test_the_front_that_is_shown_is_one_with_its_hypervolume_and_its_knee(tmp_path: Path) -> None:
    rows, confirmed, shown = shown_tables()
    objectives = Template.load(ROOT / "sweeps" / "dz_wd.yaml").sweep.objectives
    trials = [
        TrialResult(
            TrialRecord(int(row["trial"].split()[0]), "run", 0, status="finished"),
            TrialFolder(UPath(tmp_path)),
            {name: float(row[name]) for name in objectives},
        )
        for row in rows
    ]
    front = pareto_front(trials, objectives)
    assert front == trials
    (volume,) = re.findall(r"^Hypervolume ([\d.]+) of the box from", shown, re.MULTILINE)
    found = hypervolume([trial.row for trial in front], hypervolume_bounds([], objectives))
    assert found == pytest.approx(float(volume), abs=2e-4)
    order = [f"{trial.record.trial:04d}" for trial in ranked(front, objectives, objectives)]
    assert [row["trial"] for row in rows if "*" in row["trial"]] == [f"{order[0]} *"]
    assert [row["trial"].split()[0] for row in confirmed] == order[:3]
    assert all(re.fullmatch(r"[\d.]+ ± [\d.]+", row["test_acc"]) for row in confirmed)


def test_the_performance_table_is_that_of_the_kept_results() -> None:
    groups = [read(path) for name in NAMES if (path := RESULTS / f"{name}.json").exists()]
    table = [line for line in markdown(groups).splitlines() if line.startswith("|")]
    assert "\n".join(table) in PERFORMANCE
    assert {name for name in NAMES if not (RESULTS / f"{name}.json").exists()} == set()


def test_the_search_table_is_that_of_the_kept_replays() -> None:
    kept = json.loads((RESULTS / "search_quality.json").read_text())
    shares = kept["searches"]["CoDeQ Tune"]["median_costs"]
    headings = [f"trial-epochs to {100 * float(share):g} %, median" for share in shares]
    assert f"| search | {' | '.join(headings)} |" in PERFORMANCE
    baseline = kept["searches"]["random search, no stopping"]["median_costs"]
    for name, search in kept["searches"].items():
        costs, cells = search["costs"], []
        for share, cost in search["median_costs"].items():
            never = "most never" if costs else "never"
            compared = f" ({cost / baseline[share]:.2f})" if cost and search["median_costs"] is not baseline else ""
            cells.append(f"{cost:,.0f}{compared}" if cost else never)
        spread = f"{min(costs):,} to {max(costs):,}" if costs else ""
        assert f"| {name} | {' | '.join(cells)} | {spread} | {len(costs)} of {kept['seeds']} |" in PERFORMANCE, name
    assert f"{kept['trials']:,} recorded digits trials" in PERFORMANCE
    assert f"{kept['seeds']} seeds, {kept['budget']:,} trial-epochs each" in PERFORMANCE


def test_nine_files_are_shipped() -> None:
    assert len(list((ROOT / "sweeps").glob("*.yaml"))) == 9
    assert "`sweeps/` holds nine files" in README


def test_every_promise_of_the_page_on_safety_names_a_test_that_exists() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    named = re.findall(r"`(test_\w+)`", PAGES["safety.md"])
    assert named and set(named) <= defined
    promises = [line for line in PAGES["safety.md"].splitlines() if re.match(r"\| [A-Z]", line)]
    assert all("`test_" in line for line in promises)
