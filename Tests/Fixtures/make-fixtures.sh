#!/usr/bin/env bash
# Writes the snapshots that the Swift tests load: models drawn by PyTorch from five seeds, of different widths, cycles,
# activations, metrics and ids, with and without cached vectors, and their golden answers.
#
#   Tests/Fixtures/make-fixtures.sh PYTHON DIRECTORY
set -euo pipefail

python=$(realpath -s "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/../../models"

# A snapshot is made again when the trainer or this list has changed.
stamp=$(cat ../Tests/Fixtures/make-fixtures.sh belfry_models/*.py | sha256sum)
[ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] && exit 0
rm -rf "${out:?}"/*

draw() {
  local id=$1
  shift
  echo "fixture $id"
  PYTHONPATH=. OMP_NUM_THREADS=1 "$python" -m belfry_models random --out "$out/$id" "$@"
}

draw cs3-one-cycle --seed 1 --items 2000 --dimension 32 --users 300
draw cs3-two-cycles --seed 2 --items 1500 --dimension 48 --users 200 --layers 96,64,40 --cycles 2 \
  --activation tanh --normalise --user-ids u64 --cascade-dimension 24
draw cs3-three-cycles --seed 3 --items 1200 --dimension 20 --users 200 --layers 100,50 --cycles 3 \
  --activation mixed --layer-norm --item-ids string --users-dtype float16 --cascade-dimension 7
draw plain --seed 4 --items 1000 --dimension 64 --users 100 --cycles 0 --no-cross --no-cascade --metric l2
draw cross-only --seed 5 --items 1500 --dimension 33 --users 200 --layers 64 --cycles 1 --no-cascade \
  --activation silu --factory IVF16,Flat
draw graph-alone --seed 7 --items 900 --dimension 24 --users 100 --layers 48 --activation leaky_relu --factory HNSW16,None
draw cascade-only --seed 6 --items 800 --dimension 16 --users 200 --layers 40,30,20 --cycles 2 --no-cross \
  --activation gelu --factory Flat

echo "$stamp" >"$out/stamp"
