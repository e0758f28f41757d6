"""Why a folder or URL cannot be used, and where the credentials for a URL come from."""

from __future__ import annotations

from upath import UPath

from codeq.config.text import one_line

_S3 = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_AZURE = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
_GOOGLE = "GOOGLE_APPLICATION_CREDENTIALS"
_VARIABLES = {
    "s3": _S3, "s3a": _S3, "gs": _GOOGLE, "gcs": _GOOGLE, "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE,
}  # fmt: skip
"""Environment variables by the scheme of the URL."""


def credentials_hint(folder: UPath, error: Exception) -> str:
    """The end of a message about an error behind a URL, if it may be one of access; else an empty text."""
    variables = _VARIABLES.get(folder.protocol)
    is_about_access = variables and not isinstance(error, FileNotFoundError | TimeoutError)
    return f"; credentials come from {variables}" if is_about_access else ""


def describe_error(folder: UPath, error: Exception) -> str:
    """One line about an error of a folder or URL, with `credentials_hint`; each file system has its own errors."""
    reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
    return f"{reason}{credentials_hint(folder, error)}"
