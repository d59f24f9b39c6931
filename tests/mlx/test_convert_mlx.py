# test_convert_mlx.py - `gathermm convert --to mlx` gives what mlx-lm's own sanitize gives: names, shapes, types, bytes.
# SPDX-License-Identifier: MIT
import glob
import importlib
import json
import os
import subprocess
import sys
import types

import mlx.core as mx
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = ["mixtral_hf", "qwen3_moe_hf", "gpt_oss_hf", "deepseek_v3_hf"]
# sanitize knows the layer for multi-token prediction by the number that it has in DeepSeek-V3 itself, 61.
PREDICTION = ("model.layers.2.", "model.layers.10.")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "cli", "convert_models.py"), folder], check=True)
    return folder


def load(folder):
    tensors = {}
    for path in sorted(glob.glob(f"{folder}/model*.safetensors")):
        tensors.update(mx.load(path))
    return tensors


def content(array):
    return bytes(memoryview(mx.view(mx.contiguous(array).reshape(-1), mx.uint8)))


def sanitized(folder):
    """What the model's class makes of the files; sanitize needs no more of a model than its arguments."""
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    module = importlib.import_module("mlx_lm.models." + config["model_type"])
    model = types.SimpleNamespace(args=types.SimpleNamespace(**config))
    return module.Model.sanitize(model, load(folder)), config["model_type"]


@pytest.mark.parametrize("name", MODELS)
def test_sanitize(models, name, tmp_path):
    out = tmp_path / "out"
    subprocess.run([os.environ["GATHERMM"], "convert", models / name, out, "--to", "mlx", "--quiet"], check=True)
    converted = load(out)
    wanted, family = sanitized(models / name)
    if family == "deepseek_v3":
        wanted = {k: v for k, v in wanted.items() if not k.startswith(PREDICTION)}
    assert sorted(converted) == sorted(wanted)
    for key, array in wanted.items():
        assert converted[key].shape == array.shape and converted[key].dtype == array.dtype, key
        assert content(converted[key]) == content(array), key


@pytest.mark.parametrize("name", MODELS)
def test_converted_again(models, name, tmp_path):
    """What was converted is for mlx-lm to load: sanitize leaves it as it is."""
    out = tmp_path / "out"
    subprocess.run([os.environ["GATHERMM"], "convert", models / name, out, "--to", "mlx", "--quiet"], check=True)
    before = load(out)
    after, _ = sanitized(out)
    assert sorted(before) == sorted(after)
    assert all(content(before[key]) == content(after[key]) for key in before)


@pytest.mark.parametrize("mode", ["affine", "mxfp4"])
def test_dequantized(models, mode, tmp_path):
    """Quantized on the way: every module decodes as MLX decodes it, and mlx.core.quantize gives the same bytes."""
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    subprocess.run([os.environ["GATHERMM"], "convert", models / "mixtral_hf", plain, "--to", "mlx", "--quiet"], check=True)
    subprocess.run([os.environ["GATHERMM"], "convert", models / "mixtral_hf", packed, "--to", "mlx", "--quiet",
                    "--quantize", mode], check=True)
    dense, quantized = load(plain), load(packed)
    modules = [key[: -len(".scales")] for key in quantized if key.endswith(".scales")]
    assert len(modules) > 6
    for module in modules:
        w, scales, *biases = mx.quantize(dense[module + ".weight"], mode=mode)
        assert content(w) == content(quantized[module + ".weight"])
        assert content(scales) == content(quantized[module + ".scales"])
        if biases:
            assert content(biases[0]) == content(quantized[module + ".biases"])
