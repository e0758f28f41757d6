"""One line for each sweep of a storage."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from codeq.config.errors import BadInput
from codeq.config.metrics import describe_row
from codeq.results.stored_sweep import StoredSweep, load_sweep
from codeq.storage.trial_folder import StateDamaged


def describe_sweeps(storage: UPath) -> Iterator[str]:
    """Yield a line for each sweep in `storage`, by name; one that cannot be read gets a line that says why.

    Raises BadInput if there is no such folder or no sweep in it.
    """
    if not storage.exists():
        raise BadInput(f"{storage}: there is no such folder")
    folders = sorted((path for path in storage.iterdir() if (path / "template.yaml").exists()), key=lambda p: p.name)
    if not folders:
        raise BadInput(f"{storage}: holds no sweep")
    for folder in folders:
        try:
            yield _line(load_sweep(folder))
        except (BadInput, StateDamaged) as error:
            yield str(error)


def _line(stored: StoredSweep) -> str:
    found = stored.found
    parts = [stored.folder.name, found.describe_trials()]
    if found.winner:
        winner = f"winner {found.winner.record.trial:04d} ({found.choice})"
        parts += [f"front {len(found.front)}", f"hypervolume {found.hypervolume:.4f}", winner]
        parts.append(describe_row(found.winner.row, stored.template.sweep.objectives))
    else:
        parts.append("no winner")
    return "  ".join(parts)
