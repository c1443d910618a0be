#!/usr/bin/env bash
# The whole road in one go: RNNPool-Face-M4 from ONNX to C, one photograph through Python, host C and an emulated
# Cortex-M4, the bytes compared, the memory schedule and the firmware for the STM32F439.
# usage: demo.sh OUTDIR     (rnnc and python from PATH)
set -euo pipefail
out="${1:?usage: demo.sh OUTDIR}"
scripts="$(dirname "${BASH_SOURCE[0]}")"

step() {
    printf '\n== %s\n' "$*"
}

run() {
    printf '$ %s\n' "$*"
    "$@"
}

mkdir -p "$out"
model="$out/rnnpool-face-m4.onnx"
bundle="$out/face"

step "1. The network: RNNPool-Face-M4 as an ONNX file"
run rnnc zoo export rnnpool-face-m4 -o "$model"

step "2. A photograph, as the network wants it"
run python "$scripts/photo.py" "$model" "$out/photo.npy" "$out/calibration.npz"

step "3. Compile it to C for a Cortex-M4"
run rnnc compile "$model" -o "$bundle" --target cortex-m4 --name face --calibration "$out/calibration.npz"

step "4. The same photograph in Python, in C on this machine, and in C on an emulated Cortex-M4"
for place in python host qemu; do
    run rnnc run "$bundle" --input "$out/photo.npy" --on "$place" -o "$out/y-$place.npz"
done
for place in host qemu; do
    if ! cmp "$out/y-python.npz" "$out/y-$place.npz"; then
        echo "FAIL: $place and Python differ; 'rnnc verify $bundle --on $place' names the first layer" >&2
        exit 1
    fi
    echo "OK: $place gives the same bytes as Python"
done

step "5. The memory schedule"
run rnnc report "$bundle"

step "6. Firmware for the STM32F439, and its size"
run rnnc build "$bundle" --board stm32f439

printf '\nOK. All files are in %s; with a board attached: rnnc flash %s --board stm32f439\n' "$out" "$bundle"
