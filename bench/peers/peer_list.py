# peer_list.py - every library that takes part. To add one: add its file, then its line here.
# SPDX-License-Identifier: MIT
from peer_blas import Blis, OpenBlas
from peer_gathermm import Gathermm
from peer_ggml import Ggml, IkLlama
from peer_mlx import Mlx
from peer_numpy import NumPy

PEERS = [
    Gathermm,
    Ggml,
    IkLlama,
    Mlx,
    OpenBlas,
    Blis,
    NumPy,
]
