# test_package_transformers.py - models of Transformers with gathermm's experts: layers within bounds, the same tokens.
# SPDX-License-Identifier: MIT
import json
import pathlib
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; GATHERMM_TEST_TORCH names a Python with it")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="Transformers 5 is not installed here")

import gathermm  # noqa: E402
import gathermm.torch as gt  # noqa: E402
import moe_reference  # noqa: E402

gt.register_experts()
TINYMOE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "tinymoe"
COMMON = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "head_dim": 16, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MODELS = {
    "Mixtral": {"intermediate_size": 96, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen3Moe": {"moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": True},
    "GptOss": {"intermediate_size": 48, "num_local_experts": 6, "num_experts_per_tok": 2},
}


def tiny(name, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    config = getattr(transformers, name + "Config")(**{**COMMON, **MODELS[name], "initializer_range": 0.2, **changes})
    model = getattr(transformers, name + "ForCausalLM")(config).to(dtype).eval()
    model.generation_config.eos_token_id = None
    return model


def experts_of(model):
    return [m for m in model.modules() if re.search("Experts$", type(m).__name__)]


def run(model, ids):
    """Logits, and (module, arguments, result) of every layer of experts."""
    calls = []
    hooks = [m.register_forward_hook(lambda m, args, result: calls.append((m, args, result))) for m in experts_of(model)]
    with torch.no_grad():
        logits = model(ids).logits
    for hook in hooks:
        hook.remove()
    return logits, calls


def double(t):
    return t.detach().double().numpy()


def check_layer(module, args, result):
    """The result is within the a-priori bound of double precision, rounded once to its type."""
    x, ids, weights = args
    first, down = module.gate_up_proj, module.down_proj
    if module.is_transposed:
        first, down = first.mT, down.mT
    bias = (module.gate_up_proj_bias, module.down_proj_bias) if module.has_bias else (None, None)
    parts = {"gate_up": moe_reference.Matrices(double(first), None if bias[0] is None else double(bias[0])),
             "down": moe_reference.Matrices(double(down), None if bias[1] is None else double(bias[1]))}
    options = {}
    if hasattr(module, "alpha"):
        options = {"activation": "swiglu_clamped", "layout": "interleaved", "alpha": float(np.float32(module.alpha)),
                   "limit": module.limit}
    out, bound = moe_reference.layer(parts, double(x), ids.numpy(), double(weights), **options)
    assert result.dtype == x.dtype

    def rounded(ends):
        return double(torch.from_numpy(ends).float().to(x.dtype))
    moe_reference.within(double(result), out, bound, rounded)


def half_gap(exact):
    """Logits that are off by less choose the same token everywhere."""
    best = exact.double().topk(2).values
    return (best[..., 0] - best[..., 1]).min() / 2


@pytest.mark.parametrize("name", MODELS)
def test_tiny_models(name):
    model = tiny(name)
    ids = torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(1))
    model.set_experts_implementation("eager")
    eager, _ = run(model, ids)
    model.set_experts_implementation("gathermm")
    assert model.config._experts_implementation == "gathermm"
    ours, calls = run(model, ids)
    assert len(calls) == 2
    for call in calls:
        check_layer(*call)
    text = model.generate(ids, max_new_tokens=12, do_sample=False)
    model.set_experts_implementation("eager")
    assert torch.equal(model.generate(ids, max_new_tokens=12, do_sample=False), text)
    exact, _ = run(model.double(), ids)
    assert (ours - exact).abs().max() < half_gap(exact) and (eager - exact).abs().max() < half_gap(exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_tiny_models_of_half_types(name, dtype):
    model = tiny(name, dtype)
    model.set_experts_implementation("gathermm")
    _, calls = run(model, torch.arange(20).reshape(2, 10))
    assert len(calls) == 2
    for call in calls:
        check_layer(*call)


def whole_numbers(module):
    """Its weights as small integers: with relu for the activation every number of a layer is exact."""
    for i, parameter in enumerate(module.parameters()):
        values = torch.randint(-1, 2, parameter.shape, generator=torch.Generator().manual_seed(i))
        parameter.data = values.to(parameter.dtype)


@pytest.mark.parametrize("name", ["Mixtral", "Qwen3Moe"])
def test_other_activations_and_gradients(name):
    results = []
    ids = torch.tensor([[0, 3], [1, 2], [2, 0], [0, 1], [3, 3]])
    for implementation in ("eager", "gathermm"):
        module = experts_of(tiny(name, hidden_act="relu"))[0]
        module.config._experts_implementation = implementation
        whole_numbers(module)
        x = torch.randint(-2, 3, (5, 64), generator=torch.Generator().manual_seed(9)).float().requires_grad_()
        weights = torch.tensor([[1.0, 2.0]] * 5, requires_grad=True)
        y = module(x, ids, weights)
        y.backward(torch.ones_like(y))
        with torch.no_grad():
            results.append([y, module(x, ids, weights), x.grad, weights.grad, *(p.grad for p in module.parameters())])
        assert torch.equal(results[-1][0], results[-1][1])
    assert len(results[0]) == 6
    for eager, ours in zip(*results):
        assert eager.any() and torch.equal(eager, ours)


@pytest.mark.parametrize("hidden_act", ["silu", "gelu", "gelu_pytorch_tanh", "relu2"])
def test_the_activations_that_are_fused(hidden_act, monkeypatch):
    module = experts_of(tiny("Mixtral", hidden_act=hidden_act))[0]
    module.config._experts_implementation = "gathermm"
    monkeypatch.setattr(gt, "_composed", None)  # this would call it
    ours = {"gelu_pytorch_tanh": "gelu_tanh", "relu2": "relu_squared"}.get(hidden_act, hidden_act)
    x, ids, weights = torch.randn(5, 64), torch.tensor([[0, 3]] * 5), torch.rand(5, 2)
    with torch.no_grad():
        want = gt.moe(x, gt.Experts(gate_up=module.gate_up_proj, down=module.down_proj), ids, weights, activation=ours)
        assert torch.equal(module(x, ids, weights), want)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x, ids, weights), want)
        module._is_expert_parallel = True  # numbers beyond the last are experts that lie elsewhere
        here = module(x, torch.tensor([[0, 4]] * 5), weights)
        assert torch.equal(here, gt.moe(x, gt.Experts(gate_up=module.gate_up_proj, down=module.down_proj), ids[:, :1],
                                        weights[:, :1], activation=ours))
    with pytest.raises(TypeError):  # with gradients it would have been composed
        module(x, ids, weights)


def test_a_context_and_what_is_refused():
    gt.register_experts("gathermm_int8", context=gathermm.Context(threads=1))
    model = tiny("Mixtral")
    model.set_experts_implementation("gathermm")
    ids = torch.arange(8).reshape(1, 8)
    want, _ = run(model, ids)
    model.set_experts_implementation("gathermm_int8")
    assert torch.equal(run(model, ids)[0], want)  # f32 weights, and threads never matter
    with pytest.raises(ValueError, match="F64"):
        run(model.double(), ids)
    with pytest.raises(ValueError, match="not supported"):
        model.set_experts_implementation("gathermm_other")


def test_the_trained_model():
    """tinymoe, from its checkpoint: against logits and a text that a program of NumPy made in double precision."""
    from safetensors.numpy import load_file
    reference = load_file(TINYMOE / "reference.safetensors")
    texts = json.loads((TINYMOE / "reference.json").read_text())
    prompt = torch.from_numpy(reference["prompt_ids"]).long()[None]
    exact = torch.from_numpy(reference["logits"])
    for implementation in ("eager", "gathermm"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            TINYMOE, dtype=torch.float32, experts_implementation=implementation).eval()
        logits, calls = run(model, prompt)
        assert (logits[0] - exact).abs().max() < half_gap(exact)
    assert len(calls) == 3
    for call in calls:
        check_layer(*call)
    start = torch.tensor([list(texts["greedy_prompt"].encode())])
    want = texts["greedy"].encode()
    text = model.generate(start, max_new_tokens=len(want) - start.shape[1], do_sample=False, eos_token_id=None, pad_token_id=0)
    assert bytes(text[0].tolist()) == want
