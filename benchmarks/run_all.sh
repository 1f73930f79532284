#!/bin/sh
# Every benchmark, one after another, on a machine with nothing else to do.
#   DATA   folder with the Frappe and MovieLens-1M files (quality); PEERS folder of the peers' benchmark (speed beside them);
#   TEXT   a Criteo-format file of 2,000,000 rows, BIG one of 20,000,000 (benchmarks/make_criteo.py writes it)
#   OUTRANK_PYTHON the python of an environment with outrank 0.97.5 and xxhash below 4
set -e
here=$(dirname "$0")
python="$here/../.venv/bin/python"

"$python" "$here/metrics.py"
"$python" "$here/plan_step.py"
"$python" "$here/graph.py" --sizes 10m
"$python" "$here/latency.py"
"$python" "$here/rank.py" ${OUTRANK_PYTHON:+--peer-python "$OUTRANK_PYTHON"}
if [ -n "${TEXT:-}" ]; then
    "$python" "$here/prepare.py" "$TEXT" ${PEERS:+--peers "$PEERS"} ${PEER_PYTHON:+--peers-python "$PEER_PYTHON"}
else
    echo "TEXT is not set: the preparation of raw text was not measured"
fi
if [ -n "${PEERS:-}" ]; then
    "$python" "$here/train_speed.py" --peers "$PEERS" --python "$python" ${PEER_PYTHON:+--fuxi-python "$PEER_PYTHON"} --growth
    "$python" "$here/zoo_speed.py" --peers "$PEERS" --zoo "$FUXI_ZOO" ${PEER_PYTHON:+--peer-python "$PEER_PYTHON"}
else
    echo "PEERS is not set: training speed was not measured beside the peers"
fi
if [ -n "${BIG:-}" ]; then
    "$python" "$here/whole_job.py" "$BIG" --work "${WORK:-/tmp/clicksmith-whole-job}"
else
    echo "BIG is not set: the whole job was not measured"
fi
if [ -n "${DATA:-}" ]; then
    sh "$here/quality.sh"
    "$python" "$here/plans.py" frappe_x1_rebuilt --data "$DATA/frappe"
    "$python" "$here/plans.py" movielens_1m --data "$DATA/movielens_1m"
else
    echo "DATA is not set: quality on published data was not measured"
fi
