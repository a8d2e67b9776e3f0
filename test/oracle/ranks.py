"""Runs one function on every rank of a gloo job, each rank a fork of this process: torch is imported once."""

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from datetime import timedelta
from pathlib import Path

TIMEOUT_SECONDS = 120


def run_rank(function, rank, world_size, rendezvous, job):
    import torch
    import torch.distributed as dist

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=TIMEOUT_SECONDS),
    )
    result = function(rank, job)
    dist.barrier()
    dist.destroy_process_group()
    return result


def fork_rank(function, rank, world_size, folder, job):
    child = os.fork()
    if child != 0:
        return child
    try:
        report = {"ok": run_rank(function, rank, world_size, folder / "rendezvous", job)}
    except BaseException:
        report = {"error": traceback.format_exc()}
    (folder / f"{rank}.json").write_text(json.dumps(report))
    sys.stderr.flush()
    # No interpreter shutdown: it would wait for threads that belong to the parent.
    os._exit(0 if "ok" in report else 1)


def run_ranks(function, world_size, job):
    """The results of `function(rank, job)` on `world_size` gloo ranks, in rank order."""
    with tempfile.TemporaryDirectory(prefix="oracle-ranks-") as name:
        folder = Path(name)
        running = {fork_rank(function, rank, world_size, folder, job): rank for rank in range(world_size)}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        failed = []
        while running and not failed:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child in running:
                rank = running.pop(child)
                if status != 0:
                    failed.append(rank)
            elif time.monotonic() > deadline:
                failed = sorted(running.values())
            else:
                time.sleep(0.005)
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        reports = [folder / f"{rank}.json" for rank in (failed or range(world_size))]
        parsed = [json.loads(path.read_text()) if path.exists() else {"error": "died without a report"} for path in reports]
        if failed:
            raise RuntimeError("\n".join(f"rank {rank}: {report['error']}" for rank, report in zip(failed, parsed)))
        return [report["ok"] for report in parsed]
