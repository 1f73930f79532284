#!/bin/sh
# A sentinel per backbone: brief trainings on simulated rows whose outcome is committed, five seeds of each. Does a seed
# of each still come out as the five say? What is flagged was changed by the code, on purpose or not.
#   sh benchmarks/sentinel.sh          recompute one seed of each and compare (a few minutes)
#   sh benchmarks/sentinel.sh record   train all of them anew, after a change that was meant, and commit the rows
set -e
cd "$(dirname "$0")/.."
clicksmith=${CLICKSMITH:-.venv/bin/clicksmith}
rows=benchmarks/results/sentinel
world=$(mktemp -d)
trap 'rm -rf "$world"' EXIT
$clicksmith datasets synthetic --rows 12000 --seed 1 --out "$world/world" >"$world/log" 2>&1 || { cat "$world/log"; exit 1; }

if [ "$1" = record ]; then
    rm -rf "$rows"
    $clicksmith bench run "$world/world/world.toml" --results "$rows" --seeds 5 --cache "$world/cache" \
        --train.epochs 2 --train.batch-size 200 --train.learning-rate 0.01 --train.precision fp32
    exit
fi
$clicksmith bench verify "$rows" --each --data "$world/world/world.toml" --cache "$world/cache"
