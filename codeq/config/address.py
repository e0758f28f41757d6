"""The address of a running Ray cluster, as --address takes it."""

from __future__ import annotations

import re

from codeq.config.errors import format_value


def address_problem(address: str) -> str | None:
    """What is wrong with the address of a Ray cluster; None if it is HOST:PORT (of Ray Client too) or auto."""
    found = re.fullmatch(r"(?:ray://)?(?:[^\s:/\[\]]+|\[[\da-fA-F:]+\]):(\d{1,5})", address)
    if address == "auto" or (found and 0 < int(found[1]) < 65536):
        return None
    is_dashboard = "; that of the dashboard is another one" if address.startswith("http") else ""
    return f"is {format_value(address)}, must be HOST:PORT, such as 10.0.0.1:6379, or auto{is_dashboard}"
