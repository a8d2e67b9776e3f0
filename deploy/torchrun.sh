#!/bin/sh
# A conversion under torchrun: the workers are the processes that it starts. This on every node:
#
#   PET_NNODES=4 PET_NODE_RANK=0 PET_MASTER_ADDR=node0 PET_NPROC_PER_NODE=1 deploy/torchrun.sh ORG/MODEL --out /scratch/checkpoint --tp 8
#
# PET_… are torchrun's own flags as variables (--nnodes, --rdzv-endpoint, …); without any it is one worker on this machine. One worker
# a node is enough: it has threads. The address is torchrun's need; the workers meet in --out alone, which all nodes must share.
# When a worker dies, torchrun stops the others of its node and starts all of them again: they go on from where they were.
exec torchrun --max-restarts="${PET_MAX_RESTARTS:-3}" --no-python hf-stream-dcp "$@"
