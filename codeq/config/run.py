"""The run config: every key that one training run takes, with its type, its range and its default.

Plain types only. A template may hold a distribution wherever a value stands; it is checked by drawing configs
from it and validating each one against these classes (see `codeq.config.template`).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from codeq import registry  # used at call time only: the two modules import each other
from codeq.config.errors import did_you_mean, format_value
from codeq.config.paths import LocalPath, is_url
from codeq.config.types import (
    Fraction,
    NonEmptyString,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StrictModel,
    invalid,
)

EMBEDDED_DATASETS = ("digits", "synthetic")
"""Data sets that need neither files nor a network."""
RUNTIME_KEYS = frozenset({"device", "threads", "use_compile", "workers", "data_dir", "save_dir", "wandb_project"})
"""Keys that do not change what is trained; scores may differ by rounding."""
_SAME_RESULT = "it changes no result"
_SAME_IMAGES = "accuracies on different images cannot be compared"
ONE_PER_SWEEP = {
    "dataset": _SAME_IMAGES,
    "data_dir": _SAME_IMAGES,
    "val_fraction": _SAME_IMAGES,
    "device": "the sweep places all its trials alike",
    "threads": _SAME_RESULT,
    "workers": _SAME_RESULT,
    "use_compile": _SAME_RESULT,
    "save_dir": "only a single run writes there",
    "wandb_project": "a sweep is one group of runs in one project",
}
"""Keys that are the same for all trials of a sweep, so neither distributions nor references, each with the reason."""


def _known_device(name: Any) -> Any:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", str(name)):
        known = "" if ":" in str(name) else did_you_mean(name, ("auto", "cpu", "cuda", "mps"))
        hint = "; did you mean cuda?" if name == "gpu" else known
        raise invalid(f"is {format_value(name)}, must be auto, cpu, cuda, cuda:N or mps{hint}")
    return name


def _wandb_project(path: str) -> str:
    if not re.fullmatch(r"([^/\\#?%:]+/)?[^/\\#?%:]{1,128}", path):
        allowed = "PROJECT or ENTITY/PROJECT; a project's name has at most 128 characters and none of / \\ # ? % :"
        raise invalid(f"is {format_value(path)}, must be {allowed}")
    return path


def _zero_or_one(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


class PartConfig(StrictModel):
    """A part by its registered name, and the arguments that it takes: see `codeq.registry`."""

    kind: ClassVar[str]

    name: str = Field(description="a registered name, also a plug-in's")
    kwargs: dict[str, Any] = Field({}, validate_default=True, description="its arguments")

    @field_validator("name", mode="plain")
    @classmethod
    def _check_name(cls, name: Any) -> str:
        known = registry.REGISTRIES[cls.kind]
        if known.find(name) is None:
            raise PydanticCustomError("unknown_part", "must be one of {names}", {"names": known.names()})
        return str(name)

    @field_validator("kwargs", mode="plain")
    @classmethod
    def _check_kwargs(cls, kwargs: Any, info: ValidationInfo) -> Any:
        part = registry.REGISTRIES[cls.kind].find(info.data.get("name"))
        return kwargs if part is None else part.check(kwargs)

    @property
    def part(self) -> registry.Part:
        """The registered part of that name."""
        return registry.REGISTRIES[self.kind][self.name]


class NamedPart(PartConfig):
    """A part written as `NAME` or as `{name: NAME, kwargs: {...}}`."""

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, value: Any) -> Any:
        return value if isinstance(value, dict | NamedPart) else {"name": value}

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        return handler(self) if self.has_kwargs else self.name

    @property
    def has_kwargs(self) -> bool:
        """Whether an argument differs from its default."""
        given = self.part.schema.model_validate(self.kwargs)
        return bool(given.model_dump(exclude_defaults=True))

    def __str__(self) -> str:
        """The name for file names, with six digits of a hash if it has kwargs."""
        name = self.name.replace("/", "-")
        return f"{name}-{_digest(self.kwargs)[:6]}" if self.has_kwargs else name


class ModelConfig(NamedPart):
    """A network by name."""

    kind = "model"


class DatasetConfig(NamedPart):
    """A data set by name."""

    kind = "data set"


class QuantizerConfig(PartConfig):
    """The quantizer of every layer's weight."""

    kind = "quantizer"

    exclude_layers: list[NonEmptyString] = Field(
        [], description="layers whose name contains one of these stay as they are"
    )
    quantize_norms: bool = Field(
        False, description="quantize norm layers too; their weights are scales of channels, some of which start at 0"
    )


class LossTermConfig(PartConfig):
    """A term that is added to the cross-entropy."""

    kind = "loss term"

    lambda_: NonNegativeFloat = Field(1.0, alias="lambda", description="factor of the whole term")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


class AdamGroup(StrictModel):
    """One parameter group of Adam or AdamW."""

    lr: NonNegativeFloat = Field(description="learning rate")
    weight_decay: NonNegativeFloat = Field(0.0, description="weight decay")
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(
        [0.9, 0.999], description="moment decay rates"
    )
    eps: PositiveFloat = Field(1e-8, description="added to the denominator")
    amsgrad: bool = Field(False, description="keep the largest second moment")


class SgdGroup(StrictModel):
    """One parameter group of SGD."""

    lr: NonNegativeFloat = Field(description="learning rate")
    weight_decay: NonNegativeFloat = Field(0.0, description="weight decay")
    momentum: Fraction = Field(0.0, description="momentum factor")
    dampening: Fraction = Field(0.0, description="dampening of the momentum")
    nesterov: bool = Field(False, description="Nesterov momentum; needs momentum > 0 and dampening 0")

    @model_validator(mode="after")
    def _check_nesterov(self) -> SgdGroup:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise invalid("nesterov is true, which needs momentum above 0 and dampening 0", loc="nesterov")
        return self


class AdamGroups(StrictModel):
    """The three groups: network weights, dead-zone logits, bit-width logits. A group left out is not trained."""

    base: AdamGroup = Field(description="the network's own parameters")
    dz: AdamGroup | None = Field(None, description="the logit_dz parameters; their weight_decay is the sparsity knob")
    bit: AdamGroup | None = Field(None, description="the logit_bit parameters")


class SgdGroups(StrictModel):
    """The three groups: network weights, dead-zone logits, bit-width logits. A group left out is not trained."""

    base: SgdGroup = Field(description="the network's own parameters")
    dz: SgdGroup | None = Field(None, description="the logit_dz parameters; their weight_decay is the sparsity knob")
    bit: SgdGroup | None = Field(None, description="the logit_bit parameters")


class AdamW(StrictModel):
    """AdamW: decoupled weight decay."""

    type: Literal["adamw"]
    param_groups: AdamGroups


class Adam(StrictModel):
    """Adam: weight decay as an L2 term in the gradient."""

    type: Literal["adam"]
    param_groups: AdamGroups


class Sgd(StrictModel):
    """Stochastic gradient descent with momentum."""

    type: Literal["sgd"]
    param_groups: SgdGroups


OptimizerConfig = Annotated[AdamW | Adam | Sgd, Field(discriminator="type")]


def _each_once(terms: list[LossTermConfig]) -> list[LossTermConfig]:
    names = [term.name for term in terms]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise invalid(f"holds {repeated[0]} twice; a term is known by its name")
    return terms


class RunConfig(StrictModel):
    """One training run."""

    model: ModelConfig = Field(description="network: NAME, timm/NAME, or {name: NAME, kwargs: {...}}")
    pretrained: bool = Field(False, description="start from timm's published weights (vit and timm/NAME)")
    dataset: DatasetConfig = Field(
        "cifar10", validate_default=True, description="data set: NAME, or {name: NAME, kwargs: {...}}"
    )
    data_dir: NonEmptyString = Field("data", description="where the data set's files are or go")
    img_size: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="images are resized to this square; null: the data set's own size"
    )
    val_fraction: Fraction = Field(0.1, description="share of the training set to decide on; 0: decide on the test set")
    augment: Literal["auto", "standard", "randaugment", "none"] = Field(
        "auto", description="standard: flip and pad-4 crop; auto: standard, but none for digits and synthetic"
    )
    workers: NonNegativeInt = Field(
        4, description="loader processes, at most one a core, for data sets too large to live on the device"
    )

    epochs: PositiveInt = Field(300, description="passes over the training set")
    batch_size: PositiveInt = Field(128, description="images a step")
    quantizer: QuantizerConfig | None = Field(None, description="weight quantizer; null: a full-precision baseline")
    optimizer: OptimizerConfig = Field(description="type (adamw, adam or sgd) and param_groups")
    lr_scheduler: Literal["cosine", "constant", "warmup_cosine"] = Field("cosine", description="cosine: T_max = epochs")
    warmup_epochs: NonNegativeInt = Field(5, description="linear warm-up, for warmup_cosine")
    loss_terms: Annotated[list[LossTermConfig], AfterValidator(_each_once)] = Field(
        [], description="added to the cross-entropy: lambda * term(model, **kwargs)"
    )

    seed: NonNegativeInt = Field(0, description="of initialisation, batch order and augmentation")
    device: Annotated[str, BeforeValidator(_known_device)] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps"
    )
    threads: PositiveInt | None = Field(None, description="CPU threads for arithmetic; null: PyTorch's own choice")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        "auto",
        description="of the layers' arithmetic; weights stay float32. auto: bf16 on CUDA devices that have it, or fp32",
    )
    use_compile: Annotated[Literal[0, 1, "auto"], BeforeValidator(_zero_or_one)] = Field(
        0,
        description="1: torch.compile the training step; auto: only where that is measured to pay in the steps left. "
        "Compiled results differ by rounding",
    )
    save_dir: LocalPath = Field("save_temp", description="where a single run leaves its checkpoint")
    wandb_project: Annotated[NonEmptyString, AfterValidator(_wandb_project)] | None = Field(
        None, description="W&B project: PROJECT or ENTITY/PROJECT; null: no W&B"
    )

    @model_validator(mode="after")
    def _check_data_dir(self) -> RunConfig:
        part = self.dataset.part
        if is_url(self.data_dir) and "data_dir" in part.supplied and not part.is_plugin:
            reason = f"data_dir is {format_value(self.data_dir)}, must be a folder: {part.name} reads no URL"
            raise invalid(reason, loc="data_dir")
        return self

    @property
    def absolute_data_dir(self) -> str:
        """`data_dir` for a process with another working directory; a URL as it is."""
        return self.data_dir if is_url(self.data_dir) else str(Path(self.data_dir).absolute())

    @property
    def run_name(self) -> str:
        """`MODEL_QUANTIZERBITSb_eEPOCHS_lrLR`, or `MODEL_baseline_eEPOCHS_lrLR` without a quantizer."""
        return f"{self.network}_e{self.epochs}_lr{self.optimizer.param_groups.base.lr:g}"

    @property
    def network(self) -> str:
        """`MODEL_QUANTIZERBITSb`, or `MODEL_baseline` without a quantizer."""
        return f"{self.model}_{self._quantizer_tag}"

    @property
    def _quantizer_tag(self) -> str:
        if self.quantizer is None:
            return "baseline"
        name, kwargs = self.quantizer.name, self.quantizer.kwargs
        if name == "deadzone":
            return f"deadzone{kwargs['max_bits'] if kwargs['learnable_bit'] else kwargs['fixed_bit_val']}b"
        return f"uniform{kwargs['bitwidth']}b" if name == "uniform" else name

    @field_validator("pretrained")
    @classmethod
    def _check_pretrained(cls, pretrained: bool, info: ValidationInfo) -> bool:
        model = info.data.get("model")
        if pretrained and model is not None and "pretrained" not in model.part.supplied:
            raise invalid(f"is true, but {model.name} has no published weights, only vit and timm/NAME have")
        return pretrained

    @property
    def needs_building(self) -> bool:
        """Whether only building the network can tell that it is possible: the config does not say which images timm's
        networks and plug-ins take, which layers `exclude_layers` leaves, or whether one image is a batch."""
        excludes = self.quantizer is not None and bool(self.quantizer.exclude_layers)
        return self.has_own_parts or "pretrained" in self.model.part.supplied or excludes or self.batch_size == 1

    @property
    def has_own_parts(self) -> bool:
        """Whether it uses a plug-in's part or gives the network arguments, so that only its user can have tested it."""
        named = [self.model, self.dataset, *self.loss_terms, *([self.quantizer] if self.quantizer else [])]
        return self.model.has_kwargs or any(config.part.is_plugin for config in named)

    @property
    def images_key(self) -> str:
        """Equal for configs that train on the same raw images, in whatever process of a machine."""
        size = self.img_size if "img_size" in self.dataset.part.supplied else None
        return json.dumps([self.dataset.model_dump(), self.absolute_data_dir, size])

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits, equal for configs that differ only in their seed and `RUNTIME_KEYS`."""
        what = {key: value for key, value in self.as_dict().items() if key not in RUNTIME_KEYS | {"seed"}}
        return _digest(what)[:12]

    def as_dict(self) -> dict[str, Any]:
        """The config as plain data under the YAML file's own key names; `RunConfig.model_validate` reads it back."""
        return self.model_dump(by_alias=True)
