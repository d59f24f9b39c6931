#!/usr/bin/env python3
# reference.py - write the references: the model once more, in NumPy and double precision, apart from all other code here.
# SPDX-License-Identifier: MIT
"""Usage: reference.py [OUT]

Reads config.json, model.safetensors and heldout.txt beside this file and writes reference.json and reference.safetensors to the directory
OUT (default: beside this file). Needs NumPy; takes a minute. The last digits depend on NumPy's BLAS.
"""
import json
import pathlib
import struct
import sys

import numpy

HERE = pathlib.Path(__file__).resolve().parent
PROMPT, GENERATED = "Ge1:1 In the beginning", 200
LOGIT_TOKENS = 256


def read_weights(path):
    """name -> float64 array. bf16 is the upper half of a float32."""
    data = path.read_bytes()
    header_bytes = struct.unpack("<Q", data[:8])[0]
    weights = {}
    for name, entry in json.loads(data[8:8 + header_bytes]).items():
        if name != "__metadata__":
            begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            halves = numpy.frombuffer(data[begin:end], numpy.uint16).astype(numpy.uint32)
            weights[name] = (halves << 16).view(numpy.float32).astype(numpy.float64).reshape(entry["shape"])
    return weights


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        dtype = {"float64": "F64", "int32": "I32"}[tensor.dtype.name]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(numpy.ascontiguousarray(tensor).tobytes())


class Model:
    def __init__(self, directory):
        self.config = json.loads((directory / "config.json").read_text())
        self.weights = read_weights(directory / "model.safetensors")

    def norm(self, x, name):
        scale = numpy.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x / scale * self.weights[name]

    def rope(self, x):
        size, length = x.shape[-1], x.shape[-2]
        angles = numpy.outer(numpy.arange(length), self.config["rope_theta"] ** (-numpy.arange(0, size, 2) / size))
        cosines, sines = (numpy.concatenate([f(angles)] * 2, -1) for f in (numpy.cos, numpy.sin))
        turned = numpy.concatenate([-x[..., size // 2:], x[..., :size // 2]], -1)
        return x * cosines + turned * sines

    def attention(self, x, prefix):
        c, length = self.config, x.shape[0]

        def heads(name, count):
            return (x @ self.weights[f"{prefix}{name}_proj.weight"].T).reshape(length, count, -1).transpose(1, 0, 2)

        share = c["num_attention_heads"] // c["num_key_value_heads"]
        q = self.rope(heads("q", c["num_attention_heads"]))
        k = self.rope(heads("k", c["num_key_value_heads"])).repeat(share, 0)
        v = heads("v", c["num_key_value_heads"]).repeat(share, 0)
        scores = q @ k.transpose(0, 2, 1) / numpy.sqrt(c["head_dim"])
        scores[:, ~numpy.tril(numpy.ones((length, length), bool))] = -numpy.inf
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        return mixed.transpose(1, 0, 2).reshape(length, -1) @ self.weights[prefix + "o_proj.weight"].T

    def moe(self, x, prefix):
        """The output, the router's logits, and the experts chosen, best first."""
        logits = x @ self.weights[prefix + "gate.weight"].T
        chosen = numpy.argsort(-logits, -1, kind="stable")[:, :self.config["num_experts_per_tok"]]
        weights = numpy.take_along_axis(logits, chosen, -1)
        weights = numpy.exp(weights - weights.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        out = numpy.zeros_like(x)
        for expert in range(self.config["num_local_experts"]):
            w1, w2, w3 = (self.weights[f"{prefix}experts.{expert}.{name}.weight"] for name in ("w1", "w2", "w3"))
            rows, picks = numpy.nonzero(chosen == expert)
            gated = x[rows] @ w1.T
            hidden = gated / (1 + numpy.exp(-gated)) * (x[rows] @ w3.T)
            out[rows] += weights[rows, picks][:, None] * (hidden @ w2.T)
        return out, logits, chosen

    def logits(self, tokens, kept=None):
        """(tokens, vocab); with `kept`, the inputs and outputs of the MoE layers are put there."""
        x = self.weights["model.embed_tokens.weight"][tokens]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, prefix + "input_layernorm.weight"), prefix + "self_attn.")
            moe_input = self.norm(x, prefix + "post_attention_layernorm.weight")
            moe_output, router_logits, chosen = self.moe(moe_input, prefix + "block_sparse_moe.")
            x = x + moe_output
            if kept is not None:
                kept[f"layers.{layer}.moe_input"] = moe_input
                kept[f"layers.{layer}.moe_output"] = moe_output
                kept[f"layers.{layer}.router_logits"] = router_logits
                kept[f"layers.{layer}.topk_ids"] = chosen.astype(numpy.int32)
        return self.norm(x, "model.norm.weight") @ self.weights["lm_head.weight"].T

    def nats(self, tokens, following):
        logits = self.logits(tokens)
        top = logits.max(-1)
        sums = numpy.log(numpy.exp(logits - top[:, None]).sum(-1)) + top
        return float((sums - logits[numpy.arange(len(tokens)), following]).sum())

    def greedy(self, text, count):
        for _ in range(count):
            text = text + bytes([int(self.logits(numpy.frombuffer(text, numpy.uint8))[-1].argmax())])
        return text


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    model = Model(HERE)
    heldout = numpy.frombuffer((HERE / "heldout.txt").read_bytes(), numpy.uint8)
    window = model.config["max_position_embeddings"]
    windows = (len(heldout) - 1) // window

    tensors = {}
    prompt = heldout[:LOGIT_TOKENS].astype(numpy.int32)
    logits = model.logits(prompt, tensors)
    write_tensors(out / "reference.safetensors", {**tensors, "logits": logits, "prompt_ids": prompt})

    nats = [model.nats(heldout[i:i + window], heldout[i + 1:i + window + 1]) / window
            for i in range(0, windows * window, window)]
    reference = {
        "heldout_nats_per_byte": sum(nats) / windows, "bytes": windows * window, "window": window,
        "greedy_prompt": PROMPT, "greedy": model.greedy(PROMPT.encode(), GENERATED).decode(),
        "window_nats_per_byte": nats,
    }
    (out / "reference.json").write_text(json.dumps(reference, indent=2) + "\n")


if __name__ == "__main__":
    main()
