#!/bin/sh
# A conversion under Open MPI's mpirun (4.1): the workers are the processes that it starts. Once, on one node:
#
#   MPIRUN_FLAGS="-np 4 --hostfile hosts --map-by node" deploy/mpirun.sh ORG/MODEL --out /scratch/checkpoint --tp 8
#
# No MPI is spoken: the workers meet in --out alone, which all nodes must share. One worker a node is enough: it has threads, and
# --bind-to none lets them use all cores.
# --enable-recovery: when a worker dies, the others go on and take its work over.
# odls_base_sigkill_timeout: so many seconds mpirun waits between SIGTERM and SIGKILL. Its default, 1, is less than a worker's --grace.
# Variables reach other nodes only with -x; an unset one would be a warning.
exec mpirun --enable-recovery --mca odls_base_sigkill_timeout 25 --bind-to none \
	${HF_TOKEN:+-x HF_TOKEN} ${HF_HOME:+-x HF_HOME} ${HF_ENDPOINT:+-x HF_ENDPOINT} ${MPIRUN_FLAGS-} hf-stream-dcp "$@"
