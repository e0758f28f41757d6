"""Where the credentials for a URL come from."""

from __future__ import annotations

from upath import UPath

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
