/* bench_preset_list.h - the shapes that `gathermm bench` knows. To add one: add its line.
 * SPDX-License-Identifier: MIT
 *
 * PRESET(name, K, N, experts, top_k) of one expert matrix as config.json has them: hidden size, size of an expert
 * (moe_intermediate_size or intermediate_size), number of experts, experts of a token. */
PRESET("qwen3-30b-a3b", 2048, 768, 128, 8)
PRESET("qwen3-235b-a22b", 4096, 1536, 128, 8)
PRESET("gpt-oss-20b", 2880, 2880, 32, 4)
PRESET("mixtral-8x7b", 4096, 14336, 8, 2)
PRESET("deepseek-v3", 7168, 2048, 256, 8)
PRESET("seed", 512, 544, 4, 2) /* a small one in odd sizes, where MLX gave NaNs */
