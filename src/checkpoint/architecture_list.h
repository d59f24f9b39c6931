/* architecture_list.h - every architecture of GGUF files. To add one: add its file, then its line here. */
/* SPDX-License-Identifier: MIT */
ARCHITECTURE(gmm_arch_deepseek2)
ARCHITECTURE(gmm_arch_gpt_oss)
ARCHITECTURE(gmm_arch_llama)
ARCHITECTURE(gmm_arch_qwen3moe)
