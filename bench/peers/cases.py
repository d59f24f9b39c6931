# cases.py - what is compared: shapes, weight formats, activations, and how lists of them are written on a command line.
# SPDX-License-Identifier: MIT
import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    """A layer of experts: each an N x K matrix, top_k of them for each token. Whole layers: K is the hidden size, N an
    expert's own."""
    name: str
    k: int
    n: int
    experts: int
    top_k: int
    tokens: tuple = (1, 32, 512)
    in_cache: bool = False  # one copy of the weights, used again and again


@dataclasses.dataclass(frozen=True)
class Format:
    name: str
    activations: tuple
    mode: str | None = None  # of gmm_quantize and MLX; None: dense
    group_size: int = 0
    bits: int = 0


@dataclasses.dataclass(frozen=True)
class Case:
    shape: Shape
    tokens: int
    format: Format
    activations: str
    what: str = "product"  # or "layer"

    def __str__(self):
        tokens = "1 token" if self.tokens == 1 else f"{self.tokens} tokens"
        text = f"{self.shape.name}, {tokens}, {self.format.name} weights, {self.activations} activations"
        return text if self.what == "product" else f"{text}, whole layer"


SHAPES = [
    Shape("qwen3-30b-a3b", 2048, 768, 128, 8),
    Shape("gpt-oss-20b", 2880, 2880, 32, 4),
    Shape("mixtral-8x7b", 4096, 14336, 8, 2),
    Shape("seed", 512, 544, 4, 2, tokens=(64,), in_cache=True),
    Shape("small", 512, 256, 4, 2, tokens=(64,), in_cache=True),
]

FORMATS = [
    Format("f32", ("f32",)),
    Format("f16", ("f16",)),
    Format("bf16", ("bf16",)),
    Format("affine8", ("f32", "bf16"), "affine", 64, 8),
    Format("affine4", ("f32", "bf16"), "affine", 64, 4),
    Format("mxfp4", ("f32", "bf16"), "mxfp4", 32, 4),
    Format("nvfp4", ("f32", "bf16"), "nvfp4", 16, 4),
]


def parse_names(text, known):
    """The entries of `known` that a list like "f32,bf16" names, in the order of `known`."""
    by_name = {entry.name if hasattr(entry, "name") else entry: entry for entry in known}
    wanted = [word.strip() for word in text.split(",")]
    for word in wanted:
        if word not in by_name:
            raise ValueError(f"'{word}' is not one of: {', '.join(by_name)}")
    return [entry for name, entry in by_name.items() if name in wanted]


def parse_counts(text):
    """(1, 32) for "1,32"."""
    counts = []
    for word in text.split(","):
        if not word.strip().isdecimal() or int(word) < 1:
            raise ValueError(f"'{word}' is not a number of 1 or more")
        counts.append(int(word))
    return tuple(dict.fromkeys(counts))


def make_cases(shapes, formats, activations, tokens=None, what="product"):
    """Every case; fewer tokens come first, so that the slow can be known before they are run with many."""
    return [Case(shape, count, format_, given, what)
            for shape in shapes
            for format_ in formats
            for given in format_.activations if given in activations
            for count in sorted(tokens or shape.tokens)]


def from_config(config):
    """The cases of a JSON object with names."""
    return make_cases(parse_names(config["shapes"], SHAPES), parse_names(config["formats"], FORMATS),
                      config["activations"].split(","), config["tokens"], config["what"])
