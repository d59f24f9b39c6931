# peer_mlx.py - MLX on the CPU: gather_mm and gather_qmm, and a loop of matmul and quantized_matmul over the experts.
# SPDX-License-Identifier: MIT
import importlib.metadata

import numpy as np

import bounds
import decode
from library import Library, Missing, Prepared


class Mlx(Library):
    name = "mlx"
    pool = "mlx"

    def __init__(self, settings):
        super().__init__(settings)
        try:
            import mlx.core
        except ImportError as error:
            raise Missing(f"{error}; there are wheels of mlx-cpu for some systems only") from error
        self.mx = mlx.core
        self.mx.set_default_device(self.mx.cpu)
        self.version = importlib.metadata.version("mlx-cpu")

    def variants(self, case):
        # Its CPU back end refuses gather_mm in f16 and bf16.
        return ["mlx", "mlx loop"] if case.format.mode or case.format.name == "f32" else []

    def prepare(self, problem, variant):
        return (PreparedLoop if variant == "mlx loop" else PreparedGather)(self.mx, problem)


class PreparedMlx(Prepared):
    def __init__(self, mx, problem):
        self.mx = mx
        self.case = case = problem.case
        self.out_dtype = self.step_dtype = case.activations
        self.activations = {"f32": mx.float32, "bf16": mx.bfloat16}[case.activations]
        self.x = mx.array(problem.x.astype(np.float32)).astype(self.activations)
        self.slot_weights = mx.array(problem.weights).astype(self.activations)[..., None]
        self.layer = problem.layer
        self.bases = [self.parts(matrix.base) for matrix in problem.matrices]
        self.copies = problem.copies(*[part for base in self.bases for part in base])
        self.weights = [[self.stack(*pair) for pair in zip(problem.matrices, self.bases)] for _ in range(self.copies)]
        mx.eval(self.x, self.slot_weights)

    def parts(self, dense):
        """The arrays of a matrix in MLX's layout."""
        mx, format_ = self.mx, self.case.format
        if format_.mode is None:
            return [dense]
        parts = mx.quantize(mx.array(dense.astype(np.float32)).astype(mx.bfloat16), format_.group_size, format_.bits,
                            format_.mode)
        if format_.mode == "affine":
            # MLX multiplies scales of the activations' type only, and would convert them in every call.
            parts = [parts[0]] + [part.astype(self.activations) for part in parts[1:]]
        # NumPy has no bf16 of its own.
        return [np.array(part.view(mx.uint16)) if part.dtype == mx.bfloat16 else np.array(part) for part in parts]

    def stack(self, matrix, base):
        stacks = [self.mx.array(matrix.stack(part)) for part in base]
        if self.case.format.mode == "affine":
            stacks = [stacks[0]] + [part.view(self.activations) for part in stacks[1:]]
        self.mx.eval(stacks)
        return stacks

    def quantized(self, weights):
        """The arguments of gather_qmm and quantized_matmul that say what the weights are."""
        w, scales, *biases = weights
        format_ = self.case.format
        return {"scales": scales, "biases": biases[0] if biases else None, "group_size": format_.group_size,
                "bits": format_.bits, "mode": format_.mode, "transpose": True}

    def expert(self, multiply, x, weights):
        """multiply(x, matrix) with the one matrix of a product, or all of an expert, as mlx_lm's SwitchGLU does it."""
        if not self.layer:
            return multiply(x, weights[0])
        gate, up, down = weights
        up, gate = multiply(x, up), multiply(x, gate)
        return multiply(gate * self.mx.sigmoid(gate) * up, down)

    def finish(self, y):
        """What the slots give, (tokens, top_k, width), as the result."""
        self.out = (y * self.slot_weights).sum(axis=-2) if self.layer else y
        self.mx.eval(self.out)

    def output(self):
        return np.array(self.out.astype(self.mx.float32))

    def rows(self, matrix, numbers):
        base = [part[numbers] for part in self.bases[matrix]]
        if self.case.format.mode is None:
            return decode.dense(base[0], np.float32)
        if self.case.format.mode == "affine" and self.case.activations == "bf16":
            base[1:] = [decode.ggml(part, "bf16")[0] for part in base[1:]]
        return decode.mlx(base[0], base[1], base[2] if len(base) > 2 else None, self.case.format)

    def bound(self, x, values, terms, signs):
        if self.case.activations == "f32":
            return bounds.f32_sum(x, terms, 3)  # two roundings more to decode a weight, one to scale a group
        return bounds.rounded_each_step(x, terms, "bf16")


class PreparedGather(PreparedMlx):
    def __init__(self, mx, problem):
        super().__init__(mx, problem)
        self.x = self.x[:, None, None, :]
        mx.eval(self.x)

    def load(self, ids):
        self.ids = self.mx.array(ids.astype(np.uint32))
        self.mx.eval(self.ids)

    def multiply(self, x, weights):
        if self.case.format.mode is None:
            return self.mx.gather_mm(x, weights[0].swapaxes(-1, -2), rhs_indices=self.ids)
        return self.mx.gather_qmm(x, weights[0], rhs_indices=self.ids, **self.quantized(weights))

    def run(self, copy):
        self.finish(self.expert(self.multiply, self.x, self.weights[copy]).squeeze(-2))


class PreparedLoop(PreparedMlx):
    def load(self, ids):
        self.ids = ids

    def multiply(self, x, weights):
        if self.case.format.mode is None:
            return x @ weights[0].T
        return self.mx.quantized_matmul(x, weights[0], **self.quantized(weights))

    def run(self, copy):
        mx, weights = self.mx, self.weights[copy]
        order = np.argsort(self.ids, axis=None, kind="stable")
        experts, first = np.unique(self.ids.ravel()[order], return_index=True)
        rows = self.x[mx.array((order // self.ids.shape[1]).astype(np.uint32))]
        products = []
        for expert, begin, end in zip(experts.tolist(), first, [*first[1:], order.size]):
            matrices = [[part[expert] for part in stacks] for stacks in weights]
            products.append(self.expert(self.multiply, rows[int(begin):int(end)], matrices))
        back = np.empty(order.size, np.uint32)
        back[order] = np.arange(order.size)
        self.finish(mx.concatenate(products)[mx.array(back.reshape(self.ids.shape))])
