#!/bin/sh
# Quality on published rows, a folder of `clicksmith bench` rows per question under benchmarks/results; finished rows are
# skipped. DATA is the folder with frappe/ and movielens_1m/; SEEDS how many (5).
#   sh benchmarks/quality.sh && clicksmith bench table benchmarks/results/frappe_bf16
set -e
cd "$(dirname "$0")/.."
run() {
    dataset=$1 results=$2
    shift 2
    .venv/bin/clicksmith bench run "$dataset" --results "benchmarks/results/$results" --seeds "${SEEDS:-5}" "$@"
}
core="LR FM DNN DeepFM DCNv2 AutoInt+ FinalMLP"

run frappe_x1_rebuilt frappe_bf16 --data "$DATA/frappe" --train.precision bf16
# The updates of tables: equal to dense ones, and lazy ones, which leave rows alone that no batch touches.
run frappe_x1_rebuilt frappe_dense --data "$DATA/frappe" --models $core --train.precision fp32 --train.table-update dense
run frappe_x1_rebuilt frappe_lazy --data "$DATA/frappe" --models $core --train.precision fp32 --train.table-update lazy
# Averaged weights.
run frappe_x1_rebuilt frappe_averaged --data "$DATA/frappe" --settings benchmarks/settings/frappe_averaged.toml --train.precision fp32
# What a setting costs on another machine: one seed of the core, and AFN and AFN+, the slowest.
SEEDS=1 run frappe_x1_rebuilt frappe_cost --data "$DATA/frappe" --models $core AFN AFN+ --train.precision bf16
# One seed of each.
SEEDS=1 run movielens_1m movielens_1m --data "$DATA/movielens_1m"
SEEDS=1 run movielens_1m movielens_1m_tried --data "$DATA/movielens_1m" --settings benchmarks/settings/movielens_1m_tried.toml
