"""What an experiment tracker (W&B) gets of a sweep's result: the report, the front as a table, the winners' configs."""

from __future__ import annotations

import json

from upath import UPath

from codeq.config import Template
from codeq.results.sweep_result import SweepResult
from codeq.results.trials import columns
from codeq.train.tracking import SweepReport


def sweep_report(folder: UPath, template: Template, found: SweepResult, page: str | None) -> SweepReport:
    """Collect it from the files of the sweep in `folder`. page: the name of its report, None if there is none."""
    names = columns(found.front, [parameter.name for parameter in template.parameters], with_test=True)
    rows = [trial.as_row() for trial in found.front]
    configs = {f"front/{trial.record.trial:04d}.yaml": trial.folder.path / "config.yaml" for trial in found.front}
    configs |= {name: folder / name for name in ("best.yaml", "pareto.csv")}
    return SweepReport(
        summary=json.loads((folder / "summary.json").read_text()),
        columns=names,
        rows=[[row.get(name) for name in names] for row in rows],
        page=(folder / page).read_bytes() if page else None,
        configs={name: path.read_bytes() for name, path in configs.items() if path.exists()},
    )
