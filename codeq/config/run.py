"""The run config: every key that one training run takes, with its type, its range and its default.

Plain types only. A template may hold a distribution wherever a value stands; it is checked by drawing configs
from it and validating each one against these classes (see `codeq.config.template`).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from codeq.config.errors import did_you_mean, format_value


def invalid(reason: str, loc: str = "") -> PydanticCustomError:
    """The error of one value; `reason` is shown unchanged, `loc` is the key inside the value that has the problem."""
    return PydanticCustomError("invalid", "{reason}", {"reason": reason, "loc": loc})


def _plain_text(text: str) -> str:
    if not text.isprintable():
        raise invalid(f"is {format_value(text)}, must not hold line breaks or control characters")
    return text


MAX_INT = 2**31 - 1
"""The largest integer that every library below takes, seeds and thread counts included."""

PositiveInt = Annotated[int, Field(ge=1, le=MAX_INT)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_INT)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
Bits = Annotated[int, Field(ge=2, le=16)]
NonEmptyString = Annotated[str, StringConstraints(min_length=1), AfterValidator(_plain_text)]

MODELS = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "mlp", "vit")
EMBEDDED_DATASETS = ("digits", "synthetic")
"""Data sets that need neither files nor a network."""
RUNTIME_KEYS = frozenset({"device", "threads", "use_compile", "workers", "data_dir", "save_dir", "wandb_project"})
"""Keys that say where and how a run is trained, not what: they change scores by rounding only."""
DatasetName = Literal["cifar10", "cifar100", "fashion_mnist", "digits", "imagefolder", "synthetic"]


def _known_model(name: str) -> str:
    if name not in MODELS and not re.fullmatch(r"timm/[\w.\-]+", name):
        hint = did_you_mean(name, MODELS)
        raise invalid(f"is {format_value(name)}, must be one of {', '.join(MODELS)} or timm/NAME{hint}")
    return name


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise invalid(f"is {format_value(name)}, must be auto, cpu, cuda, cuda:N or mps")
    return name


def _zero_or_one(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


class StrictModel(BaseModel):
    """A mapping of the YAML file: unknown keys and silently converted types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


ExcludedLayers = list[NonEmptyString]


class DeadZoneKwargs(StrictModel):
    """Arguments of the dead-zone quantizer (CoDeQ, arXiv 2512.12981)."""

    fixed_bit_val: Bits = Field(4, description="bit-width when learnable_bit is false")
    max_bits: Bits = Field(8, description="upper end of the learnable bit-width; the lower end is 2")
    init_deadzone_logit: FiniteFloat = Field(3.0, description="initial logit_dz; 0 prunes everything, 3 nearly nothing")
    init_bit_logit: FiniteFloat = Field(3.0, description="initial logit_bit; 0 is 2 bits, 3 is nearly max_bits")
    learnable_bit: bool = Field(True, description="learn the bit-width")
    learnable_deadzone: bool = Field(True, description="learn the dead zone")


class UniformKwargs(StrictModel):
    """Arguments of the uniform symmetric quantizer."""

    bitwidth: Bits = Field(8, description="bits of every weight")


class DeadZoneQuantizer(StrictModel):
    """Prune and quantize at once with a learnable dead zone per layer."""

    name: Literal["deadzone"]
    kwargs: DeadZoneKwargs = DeadZoneKwargs()
    exclude_layers: ExcludedLayers = Field([], description="layers whose name contains one of these stay as they are")


class UniformQuantizer(StrictModel):
    """Quantize with one uniform symmetric grid per layer, no pruning."""

    name: Literal["uniform"]
    kwargs: UniformKwargs = UniformKwargs()
    exclude_layers: ExcludedLayers = Field([], description="layers whose name contains one of these stay as they are")


QuantizerConfig = Annotated[DeadZoneQuantizer | UniformQuantizer, Field(discriminator="name")]


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


class GroupLassoKwargs(StrictModel):
    """Factors of the group lasso by layer type."""

    lambda_linear: NonNegativeFloat = Field(1e-4, description="factor of the linear layers' columns")
    lambda_conv: NonNegativeFloat = Field(1e-4, description="factor of the convolutions' columns")


class GroupLasso(StrictModel):
    """Pull whole columns of the weight matrices to zero."""

    name: Literal["group_lasso"]
    lambda_: NonNegativeFloat = Field(1.0, alias="lambda", description="factor of the whole term")
    kwargs: GroupLassoKwargs = GroupLassoKwargs()


def _each_once(terms: list[GroupLasso]) -> list[GroupLasso]:
    names = [term.name for term in terms]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise invalid(f"holds {repeated[0]} twice; a term is known by its name")
    return terms


class RunConfig(StrictModel):
    """One training run."""

    model: Annotated[str, AfterValidator(_known_model)] = Field(
        description=f"one of {', '.join(MODELS)}, or timm/NAME for any timm model"
    )
    pretrained: bool = Field(False, description="start from timm's published weights (vit and timm/NAME)")
    dataset: DatasetName = Field("cifar10", description="data set")
    data_dir: NonEmptyString = Field("data", description="where the data set's files are or go")
    img_size: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="images are resized to this square; null: the data set's own size"
    )
    val_fraction: Fraction = Field(0.1, description="share of the training set to decide on; 0: decide on the test set")
    augment: Literal["auto", "standard", "randaugment", "none"] = Field(
        "auto", description="standard: flip and pad-4 crop; auto: standard, but none for digits and synthetic"
    )
    workers: NonNegativeInt = Field(4, description="loader processes, for data sets too large to live on the device")

    epochs: PositiveInt = Field(300, description="passes over the training set")
    batch_size: PositiveInt = Field(128, description="images a step")
    quantizer: QuantizerConfig | None = Field(None, description="weight quantizer; null: a full-precision baseline")
    optimizer: OptimizerConfig
    lr_scheduler: Literal["cosine", "constant", "warmup_cosine"] = Field("cosine", description="cosine: T_max = epochs")
    warmup_epochs: NonNegativeInt = Field(5, description="linear warm-up, for warmup_cosine")
    loss_terms: Annotated[list[GroupLasso], AfterValidator(_each_once)] = Field(
        [], description="added to the cross-entropy: lambda * term(model, **kwargs)"
    )

    seed: NonNegativeInt = Field(0, description="of initialisation, batch order and augmentation")
    device: Annotated[str, AfterValidator(_known_device)] = Field(
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
    save_dir: NonEmptyString = Field("save_temp", description="where a single run leaves its checkpoint")
    wandb_project: NonEmptyString | None = Field(None, description="W&B project; null: no W&B")

    @property
    def run_name(self) -> str:
        """`MODEL_QUANTIZERBITSb_eEPOCHS_lrLR`, or `MODEL_baseline_eEPOCHS_lrLR` without a quantizer."""
        return f"{self.network}_e{self.epochs}_lr{self.optimizer.param_groups.base.lr:g}"

    @property
    def network(self) -> str:
        """`MODEL_QUANTIZERBITSb`, or `MODEL_baseline` without a quantizer."""
        return f"{self.model.replace('/', '-')}_{self._quantizer_tag}"

    @property
    def _quantizer_tag(self) -> str:
        match self.quantizer:
            case None:
                return "baseline"
            case DeadZoneQuantizer(kwargs=kwargs):
                return f"deadzone{kwargs.max_bits if kwargs.learnable_bit else kwargs.fixed_bit_val}b"
            case UniformQuantizer(kwargs=uniform):
                return f"uniform{uniform.bitwidth}b"

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits, equal for configs that differ only in their seed and `RUNTIME_KEYS`."""
        what = {key: value for key, value in self.as_dict().items() if key not in RUNTIME_KEYS | {"seed"}}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """The config as plain data under the YAML file's own key names; `RunConfig.model_validate` reads it back."""
        return self.model_dump(by_alias=True)
