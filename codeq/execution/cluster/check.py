"""Checks of a cluster file before `ray up` rents machines with it: offline, with the line of every problem."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from codeq.config.document import Document, KeyPath, read_document
from codeq.config.errors import Problem, did_you_mean, format_value
from codeq.config.text import one_line
from codeq.execution.cluster.aws import aws_problems, is_placeholder

Found = tuple[KeyPath, str]
"""Where something is wrong in the file, and what."""

TOKEN = "~/.ray/auth_token"
MAKE_TOKEN = f"make it: (umask 077; ray get-auth-token --generate >/dev/null); chmod 600 {TOKEN}"
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
_KINDS = {
    "array": "a list", "boolean": "true or false", "integer": "an integer", "number": "a number",
    "object": "a mapping", "string": "a text",
}  # fmt: skip
_EVERY_INTERFACE = re.compile(r"(?<![\d.])0\.0\.0\.0(?![/\d])")
_DASHBOARD_HOST = re.compile(r"--dashboard-host[=\s]+['\"]?([^\s'\";]+)")
_EVERY_ADDRESS = re.compile(r"(?<![\d.])0\.0\.0\.0/0|(?<![\w:])::/0")
_SECRET = re.compile(r"RAY_AUTH_TOKEN=|\bAKIA[0-9A-Z]{16}|aws_secret_access_key|PRIVATE KEY", re.IGNORECASE)
_MOVING_TAG = re.compile(r"(^|[-_.])(latest|nightly|master|main)([-_.]|$)")
_RAY = re.compile(r"(?<![\w./@-])ray(?:\[[^\]]*\])?(?![\w./-])(?:\s*(?:[=<>!~]=?=?|@)\s*[^\s'\",;]+)*")
_PINNED = re.compile(r"ray(?:\[[^\]]*\])?\s*==\s*\d+(?:\.\d+)+")


def cluster_file_problems(path: Path) -> list[Problem]:
    """Return what is wrong in the cluster file: what Ray or AWS would refuse, and what would be open or not pinned.

    Raises ConfigError for a file that cannot be read or is no plain YAML.
    """
    document = read_document(path)
    found = list(document.problems)
    if not found:
        rays = yaml.safe_load(path.read_text("utf-8"))
        found = [Problem(document.location(key), ".".join(map(str, key)), why) for key, why in _found(document, rays)]
    return list(dict.fromkeys(found))


def _found(document: Document, rays: Any) -> Iterator[Found]:
    """The problems of a document; rays: the same file, as Ray reads it."""
    data = document.data
    if not isinstance(data, dict):
        yield (), "must be a mapping, with the keys that Ray documents under `cluster YAML configuration options`"
        return
    malformed = list(_read_otherwise(data, rays)) or list(_schema_problems(data))
    if malformed:
        yield from malformed
        return
    prepared = _prepared(data)
    if isinstance(prepared, str):
        named = re.search(r"`(\w+)`", prepared)
        yield ((named[1],) if named and named[1] in data else ()), prepared
        return
    yield from _text_problems(data)
    yield from _start_problems(data, prepared)
    yield from _machine_problems(data, prepared)
    yield from _mount_problems(data)
    yield from _image_problems(data)
    yield from _ray_problems(data)
    if data["provider"]["type"] == "aws":
        yield from aws_problems(prepared)


def _read_otherwise(ours: Any, rays: Any, path: KeyPath = ()) -> Iterator[Found]:
    """Values that Ray, which reads YAML 1.1, takes for something else than what stands there."""
    if isinstance(ours, dict) and isinstance(rays, dict):
        for (key, value), other in zip(ours.items(), rays.values(), strict=True):
            yield from _read_otherwise(value, other, (*path, key))
    elif isinstance(ours, list) and isinstance(rays, list):
        for index, (value, other) in enumerate(zip(ours, rays, strict=True)):
            yield from _read_otherwise(value, other, (*path, index))
    elif ours != rays or type(ours) is not type(rays):
        yield path, f"is {format_value(ours)}, which Ray reads as {format_value(rays)}; write that, or quote the text"


def _schema_problems(data: dict[str, Any]) -> Iterator[Found]:
    """What Ray's own schema refuses."""
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    if isinstance(data.get("provider"), dict) and data["provider"].get("type") == "local":
        data = {key: value for key, value in data.items() if key != "min_workers"}  # Ray moves it before it validates
    for error in jsonschema.Draft7Validator(schema).iter_errors(data):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = list(error.schema["properties"])
            for key in error.instance.keys() - set(known):
                yield (*path, key), f"unknown key{did_you_mean(key, known)}"
        elif error.validator == "required":
            for key in [key for key in error.validator_value if key not in error.instance]:
                yield (*path, key), "is missing"
        elif error.validator == "type":
            kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            must = " or ".join(_KINDS.get(kind, kind) for kind in kinds)
            yield path, f"is {format_value(error.instance)}, must be {must}"
        else:
            yield path, one_line(error.message)


def _prepared(data: dict[str, Any]) -> dict[str, Any] | str:
    """The file as `ray up` sees it, with Ray's defaults wherever it says nothing; a text if Ray refuses it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            prepared: dict[str, Any] = prepare_config(copy.deepcopy(data))
            validate_config(prepared)
        except Exception as error:  # each provider has its own
            return one_line(getattr(error, "message", error))
    return prepared


def texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text in plain data, keys of mappings left out, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(member, (*path, key))


def _text_problems(data: dict[str, Any]) -> Iterator[Found]:
    """What no text of the file may hold: a placeholder, a dashboard or a port that others reach, a secret."""
    for path, text in texts(data):
        if is_placeholder(text):
            yield path, f"is {format_value(text)}, a placeholder; write your own (the head of the file says how)"
        if _EVERY_INTERFACE.search(text):
            yield path, "binds to all interfaces, which other machines can reach; write 127.0.0.1"
        elif (host := _DASHBOARD_HOST.search(text)) and host[1] not in ("127.0.0.1", "localhost"):
            yield path, f"lets other machines reach the dashboard ({host[1]}); write --dashboard-host=127.0.0.1"
        if match := _EVERY_ADDRESS.search(text):
            yield path, f"lets every address in ({match[0]}); write your own, such as 198.51.100.7/32"
        if _SECRET.search(text):
            yield path, "holds a secret, which Ray copies to every node; mount a file of mode 0600 by file_mounts"


def _start_problems(data: dict[str, Any], prepared: dict[str, Any]) -> Iterator[Found]:
    """Nodes that start Ray without token authentication, with an open dashboard, or so that no worker joins."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        commands = prepared.get(key) or []
        if key not in data and any(_EVERY_INTERFACE.search(command) for command in commands):
            yield (key,), "is missing; by Ray's default the dashboard binds to all interfaces"
        if not any("ray start" in command for command in commands):
            yield (key,), "has no `ray start`"
        for index, command in enumerate(commands):
            before, started, options = command.partition("ray start")
            path = (key, index) if key in data else (key,)
            if started and re.findall(r"\bRAY_AUTH_MODE=(\w*)", before)[-1:] != ["token"]:
                yield path, "starts Ray without token authentication; write `export RAY_AUTH_MODE=token; ray start ...`"
            if key in data and "--head" in options:
                yield from ((path, reason) for reason in _head_problems(before, options, data["provider"]["type"]))


def _head_problems(before: str, options: str, provider: str) -> Iterator[str]:
    """What is wrong with a head's `ray start`; before: the command up to it."""
    if "--autoscaling-config" not in options:
        yield "starts a head to which no worker is added; write --autoscaling-config=~/ray_bootstrap_config.yaml"
    elif provider == "local" and not re.search(r"\bRAY_enable_autoscaler_v2=0\b", before):
        yield "starts an autoscaler that adds no machines of one's own; write `export RAY_enable_autoscaler_v2=0; ...`"


def _machine_problems(data: dict[str, Any], prepared: dict[str, Any]) -> Iterator[Found]:
    """What SSH needs and lacks, and machines of one's own that are named twice."""
    provider, auth = data["provider"], prepared.get("auth") or {}
    if "ssh_user" not in auth:
        yield ("auth", "ssh_user"), "is missing; write the user's name on the machines"
    if (key := auth.get("ssh_private_key")) and not Path(key).expanduser().is_file():
        yield ("auth", "ssh_private_key"), f"{key} does not exist"
    if provider["type"] == "local":
        machines: list[tuple[KeyPath, Any]] = [(("head_ip",), provider.get("head_ip"))]
        machines += [(("worker_ips", index), address) for index, address in enumerate(provider.get("worker_ips") or [])]
        for number, (path, address) in enumerate(machines):
            if not is_placeholder(str(address)) and address in [before for _, before in machines[:number]]:
                yield ("provider", *path), f"is {address}, which is named before; each machine is one node"


def _mount_problems(data: dict[str, Any]) -> Iterator[Found]:
    """Files that are not there to be copied, and a token that is missing or that other users can read."""
    mounts = data.get("file_mounts") or {}
    if not any(target.endswith("/.ray/auth_token") for target in mounts):
        yield ("file_mounts",), f"lacks the token, without which nodes refuse each other; write {TOKEN}: {TOKEN}"
    for target, source in mounts.items():
        path, here = ("file_mounts", target), Path(str(source)).expanduser()
        is_token = target.endswith("/.ray/auth_token")
        if not here.exists():
            yield path, f"{source} does not exist{f'; {MAKE_TOKEN}' if is_token else ''}"
        elif is_token and here.stat().st_mode & 0o077:
            yield path, f"{source} can be read by other users; chmod 600 {source}"


def _image_problems(data: dict[str, Any]) -> Iterator[Found]:
    """Container images whose content changes."""
    sections: dict[KeyPath, Any] = {("docker",): data.get("docker")}
    for name, node_type in (data.get("available_node_types") or {}).items():
        sections["available_node_types", name, "docker"] = node_type.get("docker")
    for path, section in sections.items():
        for key in ("image", "head_image", "worker_image"):
            if image := (section or {}).get(key):
                tag = image.rpartition("/")[2].partition(":")[2]
                if "@sha256:" not in image and (not tag or _MOVING_TAG.search(tag)):
                    yield (*path, key), f"is {image}, which changes; write a tag of a release, or @sha256:DIGEST"


def _ray_problems(data: dict[str, Any]) -> Iterator[Found]:
    """Commands that install any Ray, or none at all where no image has one: all nodes need the same."""
    import ray

    write = f"write 'ray[default,tune]=={ray.__version__}', the release that is installed here"
    wanted = []
    for key in SETUP:
        for index, command in enumerate(data.get(key) or []):
            for requirement in _ray_requirements(command):
                wanted.append(requirement)
                if not _PINNED.fullmatch(requirement):
                    yield (key, index), f"installs {requirement}, whose release changes; {write}"
    if not wanted and not any((data.get("docker") or {}).get(key) for key in ("image", "head_image")):
        yield ("setup_commands",), f"install no release of Ray by name: nodes may get different ones; {write}"


def _ray_requirements(command: str) -> Iterator[str]:
    """What a shell command asks pip for of Ray, such as `ray[default]==2.60.0`."""
    for part in re.split(r"&&|\|\||;", command):
        _, is_install, arguments = part.partition("pip install")
        if is_install:
            yield from (match[0].strip() for match in _RAY.finditer(arguments))
