"""Runs a command and writes, as JSON, what it and everything it started used.

usage: measure.py REPORT SAMPLE_MS COMMAND [ARG...]

CPU time is that of wait4: of every process of the tree that ended and was waited for. SAMPLE_MS > 0 also samples the memory of the
tree: `treeRssBytes` counts pages that processes share once per process, `treePrivateBytes` only their anonymous and shared-memory pages.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36


def children_of(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def memory_of(pid):
    total, private = 0, 0
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in ("RssAnon", "RssFile", "RssShmem"):
                    amount = int(rest.split()[0]) * 1024
                    total += amount
                    private += 0 if name == "RssFile" else amount
    except (OSError, ValueError):
        pass
    return total, private


class Sampler(threading.Thread):
    def __init__(self, root, interval):
        super().__init__(daemon=True)
        self.root, self.interval = root, interval
        self.rss, self.private, self.processes = 0, 0, 0

    def run(self):
        while True:
            pending, total, private, count = [self.root], 0, 0, 0
            while pending:
                pid = pending.pop()
                pending += children_of(pid)
                one, own = memory_of(pid)
                total, private, count = total + one, private + own, count + 1
            self.rss = max(self.rss, total)
            self.private = max(self.private, private)
            self.processes = max(self.processes, count)
            time.sleep(self.interval)


def main():
    report, sample_ms, *command = sys.argv[1:]
    # Grandchildren whose parent ends first become ours, so that their time counts.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _: os.kill(pid, which))
    sampler = Sampler(pid, int(sample_ms) / 1000)
    if int(sample_ms) > 0:
        sampler.start()
    _, status = os.waitpid(pid, 0)
    wall = time.monotonic() - begun
    still_running = False
    while True:
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if reaped == 0:
            still_running = True
            break
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "code": os.waitstatus_to_exitcode(status),
        "wallSeconds": wall,
        "userSeconds": usage.ru_utime,
        "systemSeconds": usage.ru_stime,
        "cpuSeconds": usage.ru_utime + usage.ru_stime,
        "peakProcessRssBytes": usage.ru_maxrss * 1024,
        "blockBytesRead": usage.ru_inblock * 512,
        "blockBytesWritten": usage.ru_oublock * 512,
        "isComplete": not still_running,
    }
    if int(sample_ms) > 0:
        result["treePeakRssBytes"] = sampler.rss
        result["treePeakPrivateBytes"] = sampler.private
        result["peakProcesses"] = sampler.processes
    with open(report, "w") as file:
        json.dump(result, file)
    sys.exit(result["code"] if result["code"] >= 0 else 128 - result["code"])


main()
