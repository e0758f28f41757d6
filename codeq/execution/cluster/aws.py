"""What AWS would refuse in a cluster file's machines, or open to everyone."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from codeq.config.document import KeyPath
from codeq.config.errors import did_you_mean, format_value
from codeq.config.text import one_line

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "structure": ((dict,), "a mapping"),
    "list": ((list,), "a list"),
    "string": ((str,), "a text"),
    "integer": ((int,), "an integer"),
    "long": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}
"""What the types of AWS are in YAML."""
_RAYS_OWN = {"SubnetIds"}
"""Keys of `node_config` that Ray reads, and AWS does not get."""
_GROUP_ID = re.compile(r"sg-[0-9a-f]{8}([0-9a-f]{9})?")
_IMAGE_ID = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")


def is_placeholder(text: str) -> bool:
    """Whether a text is to be replaced before the file is used."""
    return re.search(r"\bCHANGE", text) is not None


def aws_problems(config: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The problems of the machines in a cluster file, which Ray has completed, with their paths in the file."""
    try:
        request = _run_instances()
    except ImportError:
        yield ("provider", "type"), "needs boto3, which is not installed; pip install boto3"
        return
    yield from _region_problems(config["provider"].get("region"))
    for name, node_type in config["available_node_types"].items():
        path, node = ("available_node_types", name, "node_config"), node_type["node_config"]
        yield from _shape_problems({key: node[key] for key in node if key not in _RAYS_OWN}, request, path)
        if "InstanceType" not in node:
            yield (*path, "InstanceType"), "is missing"
        yield from _image_problems(node, path)
        yield from _group_problems(node, path)


@functools.cache
def _run_instances() -> Any:
    """botocore's shape of the request with which Ray starts machines; raises ImportError without botocore."""
    from botocore.session import get_session

    return get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


@functools.cache
def _regions() -> list[str]:
    from botocore.session import get_session

    return list(get_session().get_available_regions("ec2"))


def _region_problems(region: str | None) -> Iterator[tuple[KeyPath, str]]:
    if region is None:
        yield ("provider", "region"), "is missing; write the one in which your images are, such as us-west-2"
    elif region not in (known := _regions()) and not is_placeholder(region):
        yield ("provider", "region"), f"is {format_value(region)}, which AWS does not know{did_you_mean(region, known)}"


def _group_problems(node: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Security groups that are missing, so that Ray would make one, or that are no ids; Ray's rules for interfaces."""
    from ray.autoscaler._private.aws.config import _configure_node_type_from_network_interface

    if node.get("NetworkInterfaces"):
        try:
            _configure_node_type_from_network_interface({"node_config": node})
        except ValueError as error:
            yield (*path, "NetworkInterfaces"), one_line(error)
        return
    groups = node.get("SecurityGroupIds")
    if not groups:
        reason = "is missing; Ray would make or change a security group so that everyone can reach port 22"
        yield (*path, "SecurityGroupIds"), f"{reason}; write the ids of your own, such as [sg-0123456789abcdef0]"
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        if isinstance(group, str) and not is_placeholder(group) and not _GROUP_ID.fullmatch(group):
            yield (*path, "SecurityGroupIds", index), f"is {format_value(group)}, must be a group's id: sg-..."


def _image_problems(node: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    image = node.get("ImageId")
    if image is None:
        yield (*path, "ImageId"), "is missing; Ray would take an image of its own choice; write an id: ami-..."
    elif isinstance(image, str) and not is_placeholder(image) and not _IMAGE_ID.fullmatch(image):
        yield (*path, "ImageId"), f"is {format_value(image)}, which may change; write the id that it has now: ami-..."


def _shape_problems(value: Any, shape: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Unknown keys, wrong types and values outside a closed set; shape: what botocore knows of AWS's request."""
    kinds, must = _KINDS.get(shape.type_name, ((type(value),), ""))
    if not any(type(value) is kind for kind in kinds):  # True is an int for isinstance
        yield path, f"is {format_value(value)}, must be {must}"
    elif shape.type_name == "structure":
        for key, member in value.items():
            if key in shape.members:
                yield from _shape_problems(member, shape.members[key], (*path, key))
            else:
                yield (*path, key), f"unknown key{did_you_mean(key, list(shape.members))}"
    elif shape.type_name == "list":
        for index, member in enumerate(value):
            yield from _shape_problems(member, shape.member, (*path, index))
    elif allowed := getattr(shape, "enum", None):
        if value not in allowed and not is_placeholder(str(value)):
            nearest = did_you_mean(value, allowed) or f", must be one of {', '.join(allowed[:8])}"
            yield path, f"is {format_value(value)}, which AWS does not know{nearest}"
