"""The advice as text, for the terminal and for advice.txt."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence

from upath import UPath

from codeq.config import Template
from codeq.config.distributions import Int, LogUniform, Uniform
from codeq.config.document import to_line
from codeq.config.paths import escape_path
from codeq.config.text import first_line, join_and, pluralize
from codeq.results.advice.advice import Advice, advise
from codeq.results.advice.boundary_hits import BoundaryHit, position
from codeq.results.advice.failures import FailureRegion
from codeq.results.advice.observations import MIN_TRIALS
from codeq.results.advice.ties import Accuracies, Tie
from codeq.results.advice.total_failure import Suspect, TotalFailure
from codeq.results.trials import TrialResult
from codeq.storage.atomic_files import write_atomically

log = logging.getLogger(__name__)

_OTHER_RANGES = "Other ranges are another sweep: --name NAME"


def write_advice(
    folder: UPath, template: Template, trials: Sequence[TrialResult], front: Sequence[TrialResult]
) -> str:
    """Write advice.txt into the sweep's folder and return what it says; empty where nothing was searched or found.

    Never raises, so that an error in the advice does not cost the results; it is logged in one line.
    """
    try:
        text = "".join(f"{line}\n" for line in advice_lines(advise(template, trials, front), template))
        if text:
            write_atomically(folder / "advice.txt", text)
        return text
    except Exception as error:  # any error of Optuna, of unusual values or of the disk
        log.warning("no advice: %s", first_line(error) or type(error).__name__)
        return ""


def advice_lines(advice: Advice, template: Template) -> Iterator[str]:
    """One line for each thing to know or to do."""
    if advice.total_failure:
        yield from _total_failure(advice.total_failure)
        return
    if not template.parameters:
        return
    yield from _importances(advice)
    yield from map(_boundary_hit, advice.boundary_hits)
    if advice.tried_all:
        yield f"{template.missing_configs}; all have been tried: widen a range or add choices."
    if advice.boundary_hits or advice.tried_all:
        sweep = template.sweep
        setting = f"sweep.search.warm_start={to_line(escape_path(f'{sweep.storage}/{sweep.name}'))}"
        warm = f"; --set {shlex.quote(setting)} lets it learn from this one"
        yield f"{_OTHER_RANGES}{warm if sweep.search.learns else ''}."
    if advice.accuracies:
        yield from _accuracies(advice.accuracies)
    yield from map(_failures, advice.failures)


def _total_failure(found: TotalFailure) -> Iterator[str]:
    trials, statuses = sum(found.statuses.values()), found.statuses
    how = next(iter(statuses)) if len(statuses) == 1 else "failed"
    parts = [f"{number} {status}" for status, number in statuses.items()] if len(statuses) > 1 else []
    head = f"All {trials} trials {how}" if trials > 1 else f"The only trial {how}"
    counts = f" ({join_and(parts)})" if parts else ""
    yield f"{head}{counts}{', most often' if trials > 1 else ''}: {found.reason} (trial {found.example:04d})."
    if found.suspects:
        yield "What they have in common, the likeliest cause first:"
        yield from (f"  {suspect.parameter} {_suspect(suspect)}." for suspect in found.suspects)
        yield f"{_OTHER_RANGES}."


def _suspect(found: Suspect) -> str:
    is_fixed = found.searched is None
    where = f"is {found.low:g}" if is_fixed else f"was drawn in {found.low:.3g} to {found.high:.3g} of {found.searched}"
    if found.can_be_too_low:
        return f"{where}: try lower and higher values, or more epochs"
    if isinstance(found.searched, Uniform | LogUniform | Int):
        reaches_low = position(found.low, found.searched) <= 0.5
        return f"{where}: lower its {'low' if reaches_low else f'high to less than {found.low:.3g}'}"
    return f"{where}: {'lower it' if is_fixed else 'add lower values'}"


def _importances(advice: Advice) -> Iterator[str]:
    if advice.epoch is None:
        observed = f"{pluralize(advice.observed, 'healthy trial')} {'is' if advice.observed == 1 else 'are'}"
        yield f"What mattered: {observed} too few to tell, {MIN_TRIALS} are needed."
    for objective, shares in advice.importances.items():
        named = ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
        yield f"What mattered for {objective} ({advice.observed} trials at epoch {advice.epoch}): " + (
            f"{named}." if named else "nothing that chance does not explain."
        )


def _boundary_hit(hit: BoundaryHit) -> str:
    who = f"{_trials(hit.trials)} of {hit.winners} winners"
    if hit.objective:
        who = f"{_trials(hit.trials)}, the best in {hit.objective},"
    verb = "lies" if len(hit.trials) == 1 else "lie"
    do = f"try a {hit.end} {'above' if hit.end == 'high' else 'below'} {hit.bound:g}"
    return f"{_capital(who)} {verb} at the {hit.end} end of {hit.parameter}: {do}."


def _accuracies(found: Accuracies) -> Iterator[str]:
    if not found.ties:
        noise = f"its noise on {found.images:,} images (±{found.noise:.2f} for the best)"
        yield f"The winners differ in val_acc by more than {noise}."
    yield from map(_tie, found.ties)


def _tie(tie: Tie) -> str:
    good_at = {trial: [name for name, best in tie.best.items() if best == trial] for trial in tie.best.values()}
    best = [f"{join_and(names)} (trial {trial:04d})" for trial, names in good_at.items()]
    choice = f", choose by {' or '.join(best)}" if best else ""
    return (
        f"{_capital(_trials(tie.trials))} differ by at most {tie.gap:.2f} points of val_acc, whose noise on "
        f"{tie.images:,} images is ±{tie.noise:.2f}: treat them as equal{choice}."
    )


def _failures(region: FailureRegion) -> str:
    every = f"All {len(region.trials)} {region.status} trials"
    return f"{every} have {region.parameter} {region.side} {region.bound:.3g}, no healthy one has."


def _trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {join_and(f'{number:04d}' for number in numbers)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
