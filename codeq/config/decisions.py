"""The epochs after which a trial may be stopped, derived from the template alone for plans and forecasts."""

from __future__ import annotations

from codeq.config.template import Template


def decision_epochs(template: Template) -> frozenset[int] | None:
    """The epochs after which the scheduler may stop a healthy trial: ASHA's rungs, none at all, or any (None)."""
    scheduler, max_epochs = template.sweep.scheduler, template.max_epochs
    if scheduler.name == "none" or max_epochs <= scheduler.grace_epochs:
        return frozenset()
    return None if scheduler.name == "median" else frozenset(scheduler.rungs(max_epochs))
