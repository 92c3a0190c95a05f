# SPDX-License-Identifier: Apache-2.0
# alltoall.py - what NCCL's own all-to-all takes for the rows of one layer, for comparison: each rank sends so many tokens' rows to
# every rank, evenly, and all results back. Run by multi.sh, which gives the rank and its peers in the environment.
#
# usage: alltoall.py tcp://HOST:PORT HIDDEN TOP_K TOKENS...    prints "TOKENS MICROSECONDS-TO MICROSECONDS-BACK", medians
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist

rank, size = int(os.environ["OMPI_COMM_WORLD_RANK"]), int(os.environ["OMPI_COMM_WORLD_SIZE"])
torch.cuda.set_device(int(os.environ["OMPI_COMM_WORLD_LOCAL_RANK"]))
dist.init_process_group("nccl", init_method=sys.argv[1], rank=rank, world_size=size)
hidden, top_k = int(sys.argv[2]), int(sys.argv[3])


def rows_of(tokens, back):
    """Rows for each rank: of a token once if any of its experts is there, and a result for each expert."""
    share = tokens * top_k / size if back else tokens * (1 - (1 - 1 / size) ** top_k)
    return max(1, round(share))


def measure(n_rows):
    send = torch.ones(size * n_rows, hidden, dtype=torch.bfloat16, device="cuda")
    recv = torch.empty_like(send)
    times = []
    for _ in range(30):
        dist.barrier()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        dist.all_to_all_single(recv, send)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    mine = torch.tensor([statistics.median(times[5:])], device="cuda")
    dist.all_reduce(mine, op=dist.ReduceOp.MAX)
    return mine.item() * 1e6


for tokens in map(int, sys.argv[4:]):
    to, back = measure(rows_of(tokens, False)), measure(rows_of(tokens, True))
    if rank == 0:
        print(f"{tokens} {to:.1f} {back:.1f}", flush=True)
dist.destroy_process_group()
