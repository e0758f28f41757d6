"""What --address takes: HOST:PORT or auto."""

from __future__ import annotations

import pytest

from codeq.config.address import address_problem


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.example.org:6379", "[::1]:6379", "ray://head:10001"])
def test_an_address_of_a_cluster_is_accepted(address: str) -> None:
    assert address_problem(address) is None


@pytest.mark.parametrize(
    "address",
    ["", "local", "head", "10.0.0.1", ":6379", "head:", "head:x", "head:0", "head:65536", "::1", " head:1", "h d:1"],
)
def test_what_is_no_address_of_a_cluster_is_told_what_one_is(address: str) -> None:
    assert address_problem(address) == f"is {address!r}, must be HOST:PORT, such as 10.0.0.1:6379, or auto"


def test_the_address_of_a_dashboard_is_told_to_be_another_one() -> None:
    told = address_problem("http://127.0.0.1:8265")
    assert told is not None and told.endswith("or auto; that of the dashboard is another one")
