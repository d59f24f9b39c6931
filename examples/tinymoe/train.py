#!/usr/bin/env python3
# train.py - how the weights came about: a Mixtral-format model trained on the bytes of a text, on one GPU.
# SPDX-License-Identifier: MIT
"""Usage: OUT=DIRECTORY train.py SECONDS

Reads train.txt and heldout.txt from the working directory, one verse a line ("Ruth1:1 Now it came to pass ..."): the King James
Bible (Debian package bible-kjv-text) without and with only Ruth, Jonah, Micah, James, 1 and 2 Peter. Writes model.safetensors and
config.json to OUT. The checked-in weights took 45 seconds of an accelerator; another run gives other weights, since the
schedule follows the clock. reference.py then writes the references.
"""
import json
import math
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

VOCAB, HIDDEN, INTERMEDIATE, LAYERS = 256, 256, 384, 3
HEADS, KV_HEADS, HEAD_DIM = 8, 4, 32
EXPERTS, TOP_K = 8, 2
EPS, THETA = 1e-5, 10000.0
WINDOW, BATCH = 512, 64
PEAK_RATE, WARM_UP_STEPS = 2e-3, 200
DROPOUT, EXPERT_DROPOUT = 0.2, 0.1
BALANCE = 0.02  # weight of the loss that keeps experts equally busy
COMPILE_STEPS = 5  # the clock starts after these
EVALUATE_EVERY = 250


def at_least_float32(x):
    return x if x.dtype == torch.float64 else x.float()


def read_bytes(path):
    with open(path, "rb") as file:
        return torch.tensor(list(file.read()), dtype=torch.long, device="cuda")


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        wide = at_least_float32(x)
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype) * self.weight


class Rope:
    """Rotary embeddings: the two halves of a head's vector turn by angles that grow with the position."""

    def __init__(self, device):
        frequencies = 1.0 / (THETA ** (torch.arange(0, HEAD_DIM, 2, device=device).float() / HEAD_DIM))
        angles = torch.outer(torch.arange(WINDOW, device=device).float(), frequencies)
        self.cosines = torch.cat([angles, angles], -1).cos()
        self.sines = torch.cat([angles, angles], -1).sin()

    def to(self, device):
        self.cosines, self.sines = self.cosines.to(device), self.sines.to(device)

    def __call__(self, x):
        length = x.shape[-2]
        first, second = x[..., :HEAD_DIM // 2], x[..., HEAD_DIM // 2:]
        turned = torch.cat([-second, first], -1)
        return x * self.cosines[:length].to(x.dtype) + turned * self.sines[:length].to(x.dtype)


class Experts(nn.Module):
    """Every expert computes every token here, and the router's weights pick: simple, and fast enough for 45 seconds."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(HIDDEN, EXPERTS, bias=False)
        self.w1 = nn.Parameter(torch.randn(EXPERTS, INTERMEDIATE, HIDDEN) * 0.04)
        self.w3 = nn.Parameter(torch.randn(EXPERTS, INTERMEDIATE, HIDDEN) * 0.04)
        self.w2 = nn.Parameter(torch.randn(EXPERTS, HIDDEN, INTERMEDIATE) * 0.02)

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, HIDDEN)
        probabilities = (at_least_float32(x) @ at_least_float32(self.gate.weight).t()).softmax(-1)
        weights, chosen = probabilities.topk(TOP_K, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        routing = torch.zeros_like(probabilities).scatter(1, chosen, weights)
        gated = torch.einsum("td,efd->etf", x, self.w1.to(x.dtype))
        up = torch.einsum("td,efd->etf", x, self.w3.to(x.dtype))
        hidden = F.dropout(F.silu(gated) * up, EXPERT_DROPOUT if self.training else 0.0)
        y = torch.einsum("etf,edf->etd", hidden, self.w2.to(x.dtype))
        y = torch.einsum("etd,te->td", y, routing.to(y.dtype))
        share = (routing > 0).float().mean(0) * EXPERTS / TOP_K
        return y.view(shape), (share * probabilities.mean(0) * EXPERTS).mean()


class Block(nn.Module):
    def __init__(self, rope):
        super().__init__()
        self.rope = rope
        self.attention_norm, self.moe_norm = RMSNorm(HIDDEN), RMSNorm(HIDDEN)
        self.q = nn.Linear(HIDDEN, HEADS * HEAD_DIM, bias=False)
        self.k = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.v = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.o = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)
        self.moe = Experts()

    def forward(self, x, dropout):
        batch, length, _ = x.shape
        h = self.attention_norm(x)
        q = self.rope(self.q(h).view(batch, length, HEADS, HEAD_DIM).transpose(1, 2))
        k = self.rope(self.k(h).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2))
        v = self.v(h).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = attended.transpose(1, 2).reshape(batch, length, HEADS * HEAD_DIM)
        x = x + F.dropout(self.o(attended), dropout, self.training)
        y, balance = self.moe(self.moe_norm(x))
        return x + F.dropout(y, dropout, self.training), balance


class Model(nn.Module):
    def __init__(self, rope):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, HIDDEN)
        self.blocks = nn.ModuleList([Block(rope) for _ in range(LAYERS)])
        self.norm = RMSNorm(HIDDEN)
        self.head = nn.Linear(HIDDEN, VOCAB, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.04)

    def forward(self, tokens, dropout=0.0):
        x = F.dropout(self.embedding(tokens), dropout / 2, self.training)
        balance = 0
        for block in self.blocks:
            x, block_balance = block(x, dropout)
            balance = balance + block_balance
        return self.head(self.norm(x)), balance / LAYERS


def nats_per_byte(model, text):
    model.eval()
    count = (len(text) - 1) // WINDOW
    inputs = text[:count * WINDOW].view(count, WINDOW)
    targets = text[1:count * WINDOW + 1].view(count, WINDOW)
    total = 0
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        for i in range(0, count, BATCH):
            logits, _ = model(inputs[i:i + BATCH])
            total += F.cross_entropy(logits.float().reshape(-1, VOCAB), targets[i:i + BATCH].reshape(-1),
                                     reduction="sum").item()
    model.train()
    return total / (count * WINDOW)


def train(model, text, heldout, seconds, best_path):
    compiled = torch.compile(model)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}],
                                  lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
    start, step, best = time.time(), 0, math.inf
    model.train()
    while True:
        if step == COMPILE_STEPS:
            torch.cuda.synchronize()
            start = time.time()
        spent = (time.time() - start) / seconds if step >= COMPILE_STEPS else 0
        if spent >= 1:
            break
        rate = PEAK_RATE * min(1, step / WARM_UP_STEPS) * (0.5 * (1 + math.cos(math.pi * min(1, spent))) + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        begins = torch.randint(0, len(text) - WINDOW - 1, (BATCH,), device="cuda")
        batch = text[begins[:, None] + torch.arange(WINDOW + 1, device="cuda")]
        with torch.autocast("cuda", torch.bfloat16):
            logits, balance = compiled(batch[:, :-1], DROPOUT)
        loss = F.cross_entropy(logits.float().reshape(-1, VOCAB), batch[:, 1:].reshape(-1)) + BALANCE * balance
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % EVALUATE_EVERY == 0:
            nats = nats_per_byte(model, heldout)
            print(f"step {step}, {time.time() - start:.1f} s: loss {loss.item():.4f}, balance {balance.item():.3f}, "
                  f"held-out nats per byte {nats:.4f}", flush=True)
            if nats < best:
                best = nats
                torch.save(model.state_dict(), best_path)


def mixtral_tensors(state):
    """The state under the names that Mixtral checkpoints have."""
    tensors = {"model.embed_tokens.weight": state["embedding.weight"], "lm_head.weight": state["head.weight"],
               "model.norm.weight": state["norm.weight"]}
    for layer in range(LAYERS):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        tensors[theirs + "input_layernorm.weight"] = state[ours + "attention_norm.weight"]
        tensors[theirs + "post_attention_layernorm.weight"] = state[ours + "moe_norm.weight"]
        for name in "qkvo":
            tensors[f"{theirs}self_attn.{name}_proj.weight"] = state[f"{ours}{name}.weight"]
        tensors[theirs + "block_sparse_moe.gate.weight"] = state[ours + "moe.gate.weight"]
        for expert in range(EXPERTS):
            for name in ("w1", "w2", "w3"):
                tensors[f"{theirs}block_sparse_moe.experts.{expert}.{name}.weight"] = state[f"{ours}moe.{name}"][expert]
    return {name: tensor.to(torch.bfloat16).contiguous().cpu() for name, tensor in tensors.items()}


def write_config(path):
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "num_local_experts": EXPERTS,
        "num_experts_per_tok": TOP_K, "rms_norm_eps": EPS, "rope_theta": THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA}, "max_position_embeddings": WINDOW,
        "hidden_act": "silu", "tie_word_embeddings": False, "sliding_window": None, "attention_dropout": 0.0,
        "bos_token_id": None, "eos_token_id": None, "torch_dtype": "bfloat16", "attention_bias": False,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def compare_with_transformers(model, rope, state, out):
    """The public Mixtral implementation must read the checkpoint and answer the same, in float32 on the CPU."""
    from transformers import MixtralForCausalLM

    public = MixtralForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    tokens = torch.tensor([list(b"Ge1:1 In the beginning God")])
    model.load_state_dict(state)
    model = model.cpu().float().eval()
    rope.to("cpu")
    for value in model.state_dict().values():
        value.copy_(value.to(torch.bfloat16).float())
    with torch.no_grad():
        theirs, (ours, _) = public(tokens).logits, model(tokens)
    print("largest difference from transformers:", (theirs - ours).abs().max().item(), "of", theirs.abs().max().item())


def main():
    out, seconds = os.environ["OUT"], float(sys.argv[1])
    best_path = os.path.join(out, "best.pt")
    torch.manual_seed(1611)
    torch.backends.cuda.matmul.allow_tf32 = True
    text, heldout = read_bytes("train.txt"), read_bytes("heldout.txt")
    rope = Rope("cuda")
    model = Model(rope).cuda()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters")
    train(model, text, heldout, seconds, best_path)
    state = torch.load(best_path)
    os.remove(best_path)
    save_file(mixtral_tensors(state), os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    write_config(os.path.join(out, "config.json"))
    compare_with_transformers(model, rope, state, out)


if __name__ == "__main__":
    main()
