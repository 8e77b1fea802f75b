#!/bin/sh
# Fills the GPU rows of docs/numbers.md: examples/measure_gpu.sh [FOLDER]. See docs/gpu.md.
#
# One GPU of 80 GB, 128 GiB of host memory, no weights and no network. SIZE=tiny DEVICE=cpu MANY=8
# goes through all of it without a GPU, for nothing but to see that it runs.
set -eu
out=${1:-gpu-numbers}
device=${DEVICE:-cuda}
many=${MANY:-4096}
half=$((many / 2)) eighth=$((many / 8)) few=$((many / 16 > 4 ? many / 16 : 4))
mkdir -p "$out"

measure() { # NAME COMMAND...: the table to the terminal, the JSON document and what was said to OUT
    name=$1
    shift
    echo "== $name: omnibind bench $*"
    began=$(date +%s)
    omnibind bench "$@" --device "$device" --out "$out/$name.json" 2>"$out/$name.log" ||
        echo "failed, and the next one begins: see $out/$name.log"
    echo "$(($(date +%s) - began)) s"
}
engine() { # NAME RECIPE OPTIONS...
    name=$1
    shift
    measure "$name" engine "$@" --size "${SIZE:-full}" --weights random
}
pictures() { echo --modality image --items "image=$1"; }

measure ceiling ceiling
engine base-bf16 base $(pictures "$half") --batch 64 --dtype bfloat16
engine large-bf16 large $(pictures "$half") --batch 64 --dtype bfloat16 --profile "$out/large-bf16.txt"
engine large-float8 large $(pictures "$half") --batch 64 --dtype float8
engine full-bf16 full $(pictures "$eighth") --batch 64 --dtype bfloat16 --memory 66GiB
engine full-float8 full $(pictures "$eighth") --batch 64 --dtype float8 --memory 66GiB
engine large-all large --items "image=$few" --items "audio=$few" --items "points=$few" \
    --items "text=$few" --dtype bfloat16
engine large-naive-float32 large $(pictures "$few") --dtype float32 --naive --runs 1
engine large-naive-bf16 large $(pictures "$few") --dtype bfloat16 --naive --runs 1
engine full-resident full --items "image=$few" --items "audio=$few" --items "points=$few" \
    --items "text=$few" --dtype bfloat16 --memory 66GiB --runs 1
engine full-24GiB full $(pictures "$many") --batch 64 --dtype bfloat16 --memory 24GiB --runs 1
echo "all of it lies in $out"
