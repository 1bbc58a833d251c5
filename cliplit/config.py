"""Every constant of a training run, once; the command line, YAML recipes and `config.json` come from this table.

No torch here: `cliplit-train --help` reads it.
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import BackendError, InputError, OptionError, first_line
from .install import install_hint

METHODS = ("paired", "cliplit", "latent", "rave")
GUIDED = ("cliplit", "latent", "rave")  # by an image encoder; `paired` compares with a known target instead
ALTERNATING = ("cliplit", "latent")  # whose guidance is refined in turn with the enhancer
PRECISIONS = ("fp32", "bf16", "fp16")
RECIPES = Path(__file__).parent / "recipes"


def option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    """Return a dataclass field with its help text; `PRESETS` may change the default by method and network."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class TrainConfig:
    """Every constant of a run, saved beside it as `config.json`. `PRESETS` changes some defaults by method."""

    method: str = option(
        "paired",
        "paired: targets known. cliplit: prompts (CLIP-LIT). latent: learned embeddings. rave: residual vector.",
        METHODS,
    )
    as_published: bool = option(False, "Every constant as in the published code, where the paper differs too (guided).")
    network: str = option("lite", "Network to train: lite, relative, unet, or one of an installed package.")
    task: str = option("backlit", "Preset: low-light draws darker pictures and adds noise.", ("backlit", "low-light"))

    # Pictures of method paired
    hdri: str = option("", "Folder of equirectangular .hdr panoramas to render pairs from (paired).")
    photos: tuple[str, ...] = option((), "Folder of well-lit photos to darken (paired); repeatable.")
    exclude: tuple[str, ...] = option((), "Panorama to leave out, by the start of its file name; repeatable.")
    scenes: int = option(1600, "Panorama views to render.")
    # Pictures of all methods
    pairs: str = option("", "Folder with input/ and gt/: backlit pictures and their well-lit references.")
    # Pictures of the guided methods
    backlit: tuple[str, ...] = option((), "Folder of backlit pictures, searched recursively (guided); repeatable.")
    welllit: tuple[str, ...] = option((), "Folder of unrelated well-lit pictures (guided); repeatable.")
    noise: float = option(0.0, "Share of guided inputs that get sensor noise; losses compare with the clean picture.")
    augmentation: str = option(
        "paper",
        "Changes of guided pictures: paper (flips, turns, rotation, zoom), turns (flips and quarter turns), or none.",
        ("paper", "turns", "none"),
    )
    crop_least: float = option(1.0, "Least share of the sides that a random crop of a guided picture keeps; 1: none.")
    exposure_jitter: float = option(0.0, "Stops by which the exposure of guided inputs varies, either way.")
    memory: int = option(0, "MB of decoded guided pictures to keep; others are read at every use. 0: keep all.")
    # Scoring
    validation: str = option("", "Folder with input/ and gt/ to score on; never trained on.")
    validation_photos: str = option("", "Folder of pictures without references to score on.")
    best_by: str = option(
        "auto",
        "Score that selects best.pt; auto: psnr + 20 ssim on --validation, else the loss.",
        ("auto", "loss", "psnr", "ssim", "lpips", "musiq", "niqe"),
    )

    # Length of the run and of its phases (CLIP-LIT#12: the five knobs for other tasks are marked *)
    steps: int = option(5000, "Optimizer steps of all phases together.")
    prompt_init_steps: int = option(10_000, "* Steps of prompt initialisation, before anything else.")
    reconstruction_steps: int = option(1000, "* Steps of self-reconstruction, before any guidance.")
    enhancer_steps: int = option(2100, "* Enhancer steps of a round.")
    prompt_steps: int = option(1000, "* Prompt refinement steps of a round.")
    margins: tuple[float, float] = option((0.9, 0.2), "* Margins of the ranking: from backlit, and between results.")
    level_margins: tuple[float, ...] = option(
        (), "Six margins instead: two each for a ranking of 2, 3 and 4 pictures; repeatable."
    )
    levels: int = option(4, "Pictures ranked at most: 2, 3 with the result, 4 with the previous one.")
    enhancer_threshold: float = option(90.0, "Extend an enhancer phase while its loss is above this.")
    prompt_threshold: float = option(60.0, "Extend a prompt phase while the ranking loss (times 200) is above this.")
    enhancer_extension: int = option(60, "Steps added to an enhancer phase.")
    prompt_extension: int = option(100, "Steps added to a prompt phase.")
    restart_psnr: float = option(8.0, "Restart if reconstruction is below this many dB after 100 steps.")

    # Losses
    guidance_weight: float = option(320.0, "Weight of the guidance loss: 16 * 20, and six times that for rave.")
    identity_weight: float = option(22.5, "Weight of the identity loss: 0.9 * 25.")
    reconstruction_weight: float = option(25.0, "Weight of the identity loss during self-reconstruction.")
    identity_layers: tuple[float, ...] = option((1.0, 1.0, 1.0, 1.0, 0.5), "Weights of the identity encoder's stages.")
    paired_weight: float = option(0.0, "Weight of a paired loss added to a guided one (needs --pairs).")
    level_weight: float = option(0.0, "Weight of the error of the mean luma in the paired loss (paired).")
    exposure_weight: float = option(
        0.0, "Weight of what results of the targets rise by, in stops, where they are taken darker (paired)."
    )
    bias_tokens: int = option(0, "Bias correction of rave: words taken at each end (15 in its code; 0: off).")
    bias_words: str = option(
        "encoded",
        "Those words: encoded by the text tower, or raw rows of its table of words (as in its code).",
        ("encoded", "raw"),
    )
    direction: str = option(
        "folders",
        "Direction of rave's guidance: from backlit to well-lit (folders), or from the well-lit pictures "
        "--exposure-stops too dark to the same as they are (exposure; needs no backlit pictures).",
        ("folders", "exposure"),
    )
    exposure_stops: float = option(2.0, "By how many stops --direction exposure darkens.")
    target: str = option(
        "published",
        "Where rave's guidance leads: its threshold (published), the mean place of well-lit pictures (mean), or "
        "anywhere between two of their quantiles (band).",
        ("published", "mean", "band"),
    )
    band: tuple[float, float] = option((0.25, 0.75), "The two quantiles of --target band.")
    overexposure: float = option(
        0.0, "Stops over which well-lit pictures are over-exposed, as what results must not be like; 0: off."
    )
    crops: int = option(0, "Random crops that rave's encoder judges besides the whole picture.")
    identity_to: str = option(
        "input",
        "What the identity loss compares with: the input, the result of --init (result), or --pairs' gt (reference).",
        ("input", "result", "reference"),
    )
    identity_every: int = option(1, "Steps between identity losses, each weighted as many times; saves time.")
    identity_side: int = option(0, "Side at which the identity encoder sees pictures; 0: its own. Saves time.")
    identity_cache: int = option(
        0, "MB of features of the compared pictures to keep; saves time where pictures recur. 0: off."
    )
    apply: str = option(
        "runtime",
        "How the light map is applied: divide (clip(I / (L + 1e-9)), the papers) or runtime (as shipped).",
        ("divide", "runtime"),
    )

    # Encoders
    score_model: str = option("ViT-B-32-quickgelu", "open_clip model that judges, or a model config .json.")
    score_weights: str = option("openai", "Its pretrained tag, a weights file, or `random` (for tests).")
    identity_model: str = option("RN101-quickgelu", "open_clip model of the identity loss, or a config .json.")
    identity_weights: str = option("openai", "Its pretrained tag, a weights file, or `random` (for tests).")
    antialias: bool = option(False, "Antialias the encoders' resize (the published code with torch 1.13 does not).")
    encoder: str = option("", "FILE.py:FACTORY of an image encoder to use instead of open_clip (latent, rave).")
    encoder_weights: str = option("", "Argument for that factory, such as a weights file.")
    prompt_length: int = option(16, "Words a learned prompt starts from.")
    initial_std: float = option(
        0.0,
        "Draw initial weights of convolutions as N(0, this): 0.02 in the published code; 0: the network's own.",
    )
    init: str = option("", "Checkpoint to start from; skips self-reconstruction.")
    init_prompts: str = option("", "Prompt pair to start from; skips prompt initialisation.")

    # Optimisation
    batch: int = option(16, "Pictures per step, over all processes.")
    prompt_batch: int = option(16, "Pictures per prompt step, over all processes.")
    sizes: tuple[tuple[int, int], ...] = option(
        ((192, 256), (160, 288), (256, 192), (192, 192)), "HEIGHTxWIDTH of a batch, drawn anew each step; repeatable."
    )
    prompt_size: int = option(256, "Side of the pictures in prompt steps.")
    learning_rate: float = option(2e-3, "Peak learning rate of the enhancer.")
    final_learning_rate: float = option(2e-5, "Learning rate at the end of its cosine.")
    schedule: str = option("cosine", "Learning rate after the warm-up.", ("cosine", "constant"))
    prompt_learning_rate: float = option(5e-6, "Learning rate of the prompts or embeddings.")
    warmup: int = option(200, "Steps of linear warm-up.")
    betas: tuple[float, float] = option((0.9, 0.999), "Adam's betas.")
    weight_decay: float = option(1e-4, "Decoupled (AdamW) for paired, L2 (Adam) for the guided methods.")
    prompt_weight_decay: float = option(0.0, "L2 weight decay of the prompts' Adam (1e-3 in the published code).")
    train_padding: str = option(
        "reflect",
        "Padding of the unet's outer convolutions while it trains; it is tested with reflect.",
        ("reflect", "zeros"),
    )
    gradient_clip: float = option(1.0, "Largest gradient norm; 0 for no limit.")
    ema: float = option(0.998, "Decay of the averaged weights, which become the result; 0 for none.")
    precision: str = option("fp32", "Precision of the enhancer (AMP).", PRECISIONS)
    encoder_precision: str = option(
        "auto", "Precision of the frozen encoders; auto: as --precision.", ("auto", *PRECISIONS)
    )
    compile: bool = option(False, "Compile the network with torch.compile.")

    # The run
    seed: int = option(1, "Random seed.")
    device: str = option("auto", "Where to train: auto, cpu, cuda or cuda:N.")
    save_every: int = option(250, "Steps between checkpoints and validations.")
    log_every: int = option(20, "Steps between log lines, and between checks for the best of a round.")
    threads: int = option(0, "CPU threads of torch; 0 lets torch choose.")
    workers: int = option(1, "Processes that prepare batches ahead.")
    pool: int = option(
        0,
        "Render so many pairs (paired) beforehand, keep them on the device (12 bytes a pixel) and draw from them; "
        "0: each pair is rendered for one use.",
    )
    retries: int = option(0, "How often a run that diverged goes back to its last checkpoint, at half the rates.")
    tensorboard: bool = option(False, "Write TensorBoard scalars and picture grids to RUN/tensorboard.")
    wandb: str = option("", "Project of Weights & Biases to log to as well (needs wandb; it sends data elsewhere).")

    @property
    def best_by_loss(self) -> bool:
        """Whether best.pt is chosen without any score."""
        return self.best_by == "loss" or (self.best_by == "auto" and not self.validation)

    def margins_of(self, levels: int) -> tuple[float, float]:
        """Return the (wide, narrow) margins of a ranking of so many pictures."""
        if not self.level_margins:
            return self.margins
        wide, narrow = self.level_margins[2 * (levels - 2) :][:2]
        return wide, narrow

    @property
    def encoder_arithmetic(self) -> str:
        return self.precision if self.encoder_precision == "auto" else self.encoder_precision

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Merge the defaults, the presets that apply and `values`. Raises InputError for invalid options."""
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise OptionError(f"unknown training option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        values = {name: _converted(name, value) for name, value in values.items()}
        kind = {name: values.get(name, known[name].default) for name in ("method", "network", "task", "as_published")}
        if kind["as_published"] and "network" not in values:
            kind["network"] = values["network"] = "unet"
        preset: dict[str, Any] = {}
        for when, then in PRESETS:
            if all(kind[name] in names for name, names in when.items()):
                preset |= then
        config = cls(**{**preset, **values})
        check(config)
        return config


# What differs from the defaults above, later rows over earlier ones.
PRESETS: tuple[tuple[dict[str, tuple[Any, ...]], dict[str, Any]], ...] = (
    # The paper's network is costly and trains on smaller pictures.
    (
        {"method": ("paired",), "network": ("unet",)},
        {
            "steps": 1100,
            "batch": 8,
            "sizes": ((112, 144), (96, 160), (144, 112), (128, 128)),
            "learning_rate": 5e-4,
            "warmup": 50,
            "ema": 0.99,
        },
    ),
    # From scratch, and the level of a picture is what it learns last.
    (
        {"method": ("paired",), "network": ("relative",)},
        {"scenes": 2100, "steps": 9000, "weight_decay": 1e-2, "level_weight": 3.0},
    ),
    # CLIP-LIT's constants (docs: the method, section CLIP-LIT); RAVE and the latent variant share them.
    (
        {"method": GUIDED},
        {
            "steps": 50_000,
            "batch": 8,
            "learning_rate": 2e-5,
            "final_learning_rate": 5e-6,
            "warmup": 0,
            "betas": (0.9, 0.99),
            "weight_decay": 1e-3,
            "gradient_clip": 0.0,
            "ema": 0.0,
        },
    ),
    ({"method": GUIDED, "network": ("unet",)}, {"sizes": ((512, 512),), "apply": "divide"}),
    ({"method": GUIDED, "network": ("lite",)}, {"sizes": ((192, 192),)}),  # it divides at proxy size, as it will run
    ({"method": ("latent",)}, {"prompt_learning_rate": 5e-4}),
    ({"method": ("rave",)}, {"steps": 5000, "guidance_weight": 6 * 320.0}),
    ({"method": GUIDED, "task": ("low-light",)}, {"noise": 0.5}),
    # What the code of CLIP-LIT does where its paper says something else, or nothing.
    (
        {"method": GUIDED, "as_published": (True,)},
        {
            "prompt_init_steps": 8000,
            "level_margins": (1.0, 0.2, 0.9, 0.2, 0.9, 0.1),
            "schedule": "constant",
            "betas": (0.9, 0.999),
            "prompt_weight_decay": 1e-3,
            "train_padding": "zeros",
            "initial_std": 0.02,
            "apply": "divide",
            "sizes": ((512, 512),),
        },
    ),
    ({"method": ("rave",), "as_published": (True,)}, {"bias_tokens": 15, "bias_words": "raw"}),
)

MOST = 1 << 16  # bytes of a recipe
BRACKETS = 500  # in a recipe; what PyYAML does with open ones grows with their square
# What may be changed when a run goes on; `cliplit-train` notes it in the journal.
RESUMABLE = (
    *("steps", "learning_rate", "final_learning_rate", "prompt_learning_rate", "schedule", "weight_decay"),
    *("prompt_weight_decay", "gradient_clip", "save_every", "log_every", "device", "threads", "workers", "retries"),
    *("tensorboard", "wandb", "memory"),
)

# Least and greatest value of each number.
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("steps", "batch", "prompt_batch", "save_every", "log_every", "scenes", "prompt_length"), (1, 1e9)),
    **dict.fromkeys(("prompt_init_steps", "reconstruction_steps", "warmup", "retries", "pool"), (0, 1e9)),
    **dict.fromkeys(("threads", "workers"), (0, 1024)),
    **dict.fromkeys(("enhancer_steps", "prompt_steps", "enhancer_extension", "prompt_extension"), (1, 1e9)),
    **dict.fromkeys(("guidance_weight", "identity_weight", "reconstruction_weight", "identity_layers"), (0, 1e9)),
    **dict.fromkeys(
        ("paired_weight", "level_weight", "exposure_weight", "gradient_clip", "bias_tokens", "crops"), (0, 1e9)
    ),
    **dict.fromkeys(("learning_rate", "final_learning_rate", "prompt_learning_rate"), (0, 1e3)),
    **dict.fromkeys(("weight_decay", "prompt_weight_decay"), (0, 1e3)),
    **dict.fromkeys(("margins", "level_margins"), (0, 2)),
    **dict.fromkeys(("noise", "ema", "band"), (0, 1)),
    **dict.fromkeys(("enhancer_threshold", "prompt_threshold", "restart_psnr"), (-math.inf, math.inf)),
    "betas": (0, 0.999999),
    "levels": (2, 4),
    "seed": (0, 2**63 - 1),
    "prompt_size": (2, 1e5),
    "identity_every": (1, 1e9),
    "identity_side": (0, 1e5),
    "identity_cache": (0, 1e9),
    "memory": (0, 1e9),
    "crop_least": (0.1, 1),
    "exposure_jitter": (0, 12),
    "exposure_stops": (0.1, 12),
    "overexposure": (0, 12),
    "initial_std": (0, 10),
}


def check(config: TrainConfig) -> None:
    """Check for values that are out of range or contradict each other, before anything slow. Raises OptionError."""
    for f in fields(config):
        if (choices := f.metadata["choices"]) and getattr(config, f.name) not in choices:
            raise OptionError(f"--{cli_name(f.name)} {getattr(config, f.name)}: choose one of {', '.join(choices)}")
    for name, (least, most) in BOUNDS.items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not least <= number <= most:  # also what is not a number
                wanted = f"at least {least:g}" if most >= 1e9 else f"from {least:g} to {most:g}"
                raise OptionError(f"--{cli_name(name)} {number:g}: must be {wanted}")
    if wrong := [size for size in config.sizes or ((),) if len(size) != 2 or min(size) < 2]:
        said = "x".join(map(str, wrong[0])) or "()"
        raise OptionError(f"--sizes {said}: expected HEIGHTxWIDTH, such as 192x256")
    if len(config.level_margins) not in (0, 6):
        raise OptionError(f"--level-margins: {len(config.level_margins)} numbers; six are needed, two for each ranking")
    if config.band[0] >= config.band[1]:
        raise OptionError(f"--band {config.band[0]:g} {config.band[1]:g}: the first must be the smaller one")
    check_method(config)


def check_method(config: TrainConfig) -> None:
    """Check that the method has its pictures, and that no option is given which it would ignore."""
    if config.as_published and config.network != "unet":
        raise OptionError(f"--as-published trains the unet; --network is {config.network}")
    if config.train_padding == "zeros" and config.network != "unet":
        raise OptionError(f"--train-padding zeros is of the unet; --network is {config.network}")
    if config.method == "paired":
        if not (config.hdri or config.photos or config.pairs):
            raise OptionError("method paired needs pictures: --hdri, --photos or --pairs")
        if config.as_published:
            raise OptionError("--as-published is of the guided methods: --method cliplit, latent or rave")
        return
    backlit = bool(config.backlit) or (config.method == "rave" and config.direction == "exposure")
    if not config.pairs and not (backlit and config.welllit):
        raise OptionError(f"method {config.method} needs pictures: --backlit and --welllit, or --pairs")
    if config.method == "cliplit" and config.encoder:
        raise OptionError("method cliplit needs a text tower, which --encoder has not; use --method latent or rave")
    if config.paired_weight and not (config.pairs or not config.backlit):
        raise OptionError("--paired-weight needs known targets: --pairs")
    if config.identity_to == "reference" and not (config.pairs or not config.backlit):
        raise OptionError("--identity-to reference needs known targets: --pairs")
    if config.identity_to == "result" and not config.init:
        raise OptionError("--identity-to result needs a checkpoint whose results are meant: --init")
    if config.bias_tokens and config.encoder:
        raise OptionError("--bias-tokens needs a text tower, which --encoder has not")
    if config.method != "rave":
        for name in ("direction", "target", "crops"):
            if getattr(config, name) != TrainConfig.__dataclass_fields__[name].default:
                raise OptionError(f"--{cli_name(name)} is of method rave; --method is {config.method}")


def read_yaml(name: str) -> dict[str, Any]:
    """Read the options in a YAML file, or in a bundled recipe by name."""
    try:
        import yaml
    except ImportError as error:
        raise BackendError(f"reading a YAML file needs PyYAML; install it with: {install_hint('train')}") from error
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        recipes = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise InputError(f"{name}: neither a YAML file nor a recipe ({recipes})")
    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a recipe")
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > BRACKETS:
            raise InputError(f"{path}: more than {BRACKETS} brackets are too many for a recipe")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InputError(f"{path}: aliases (*name), which unfold, are not taken; write the values out")
        content = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not a YAML file that can be read ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected options, one `name: value` a line")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Read the options a run was started with. Raises InputError if the file is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not the configuration of a run ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected the configuration of a run")
    return content


def cli_name(name: str) -> str:
    return name.replace("_", "-")


def parse_size(text: str) -> tuple[int, int]:
    """Parse `192x256` into (height, width)."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise OptionError(f"--sizes {text}: expected HEIGHTxWIDTH, such as 192x256") from error
    return height, width


TYPES = typing.get_type_hints(TrainConfig)


def _converted(name: str, value: Any) -> Any:
    """Convert a value from YAML, JSON or the command line to the field's type. Raises InputError if it cannot be."""
    kind = TYPES[name]
    try:
        if name == "sizes":
            return tuple(parse_size(v) if isinstance(v, str) else (int(v[0]), int(v[1])) for v in value)
        if typing.get_origin(kind) is tuple:
            inner = typing.get_args(kind)
            values = (value,) if isinstance(value, str | int | float) else tuple(value)
            if Ellipsis not in inner and len(values) != len(inner):
                raise ValueError
            return tuple(inner[0](v) for v in values)
        if kind is bool and not isinstance(value, bool):
            raise ValueError
        if kind is int and not isinstance(value, int) and int(value) != float(value):
            raise ValueError
        if kind is str and not isinstance(value, str | int | float):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
        shown = str(kind) if typing.get_origin(kind) else kind.__name__
        raise OptionError(f"--{cli_name(name)} {str(value)[:60]}: expected {shown}") from error
