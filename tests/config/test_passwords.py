"""Masked passwords of database URLs."""

from __future__ import annotations

import pytest

from codeq.config.passwords import is_masked, mask_password, without_mask


@pytest.mark.parametrize(
    ("url", "masked", "without"),
    [
        ("postgresql://me:s3:c@ret@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("postgresql://me:s3/c?r@t@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("mysql://host/db?user=me&password=s3cret", "mysql://host/db?user=me&password=***", "mysql://host/db?user=me&"),
        ("mysql://host/db?PWD=s3cret&x=1", "mysql://host/db?PWD=***&x=1", "mysql://host/db?x=1"),
        ("postgresql://me@host/db", "postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/a***.db", "sqlite:////tmp/a***.db", "sqlite:////tmp/a***.db"),
    ],
)
def test_a_password_is_masked_and_a_mask_is_recognized_and_left_out(url: str, masked: str, without: str) -> None:
    assert mask_password(url) == masked == mask_password(masked)
    assert without_mask(masked) == without
    assert not is_masked(url)
    assert is_masked(masked) == (masked != url)
