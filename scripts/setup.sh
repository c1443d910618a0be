#!/usr/bin/env bash
# Installs what rnnc's development needs and what is not there yet: Debian packages, a virtual environment with
# the project in it, the CMSIS-DSP sources. Quick when nothing is missing. Without root it says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
venv="${VENV:-.venv}"

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

has_libc() {
    printf '#include <stdio.h>\n' | "$@" -E - >/dev/null 2>&1
}

# Whether clang can link a program with its sanitizers, which Debian has in a package of their own.
has_sanitizers() {
    local folder status=0
    folder="$(mktemp -d)"
    printf 'int main(void) { return 0; }\n' >"$folder/main.c"
    clang -fsanitize=address,undefined "$folder/main.c" -o "$folder/main" >/dev/null 2>&1 || status=1
    rm -rf "$folder"
    return "$status"
}

# Prints the Debian packages of which nothing was found, one per line.
missing_packages() {
    has gcc || echo gcc
    has gcc && has_libc gcc || echo libc6-dev
    has clang || echo clang
    has clang && has_sanitizers || echo libclang-rt-dev
    has clang-format || echo clang-format
    has arm-none-eabi-gcc || echo gcc-arm-none-eabi
    has arm-none-eabi-gcc && has_libc arm-none-eabi-gcc || echo libnewlib-arm-none-eabi
    has qemu-system-arm || echo qemu-system-arm
    has openocd || echo openocd
    has "$python" || echo python3
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
}

install_packages() {
    local as_root=()
    if [[ "$(id -u)" -ne 0 ]]; then
        as_root=(sudo -n)
    fi
    if ! has apt-get || ! "${as_root[@]}" true 2>/dev/null; then
        printf 'setup: these Debian packages are missing, and installing them needs root. Run\n\n' >&2
        printf '    sudo apt-get update && sudo apt-get install --no-install-recommends %s\n\n' "$*" >&2
        printf '(or install the same tools in another way) and then this command again.\n' >&2
        exit 1
    fi
    echo "setup: installing $*"
    "${as_root[@]}" apt-get update -q </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" </dev/null
}

install_project() {
    local stamp="$venv/.installed-for" wanted
    wanted="$(pwd) $(sha256sum <pyproject.toml)"
    if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then
        return
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "rnnc needs Python 3.10 or newer; $python is $("$python" --version 2>&1). Try: make PYTHON=python3.12"
    "$python" -c 'import ensurepip, venv' ||
        die "$python cannot make virtual environments. Try: sudo apt-get install python3-venv"
    echo "setup: installing rnnc and its development tools into $venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --editable '.[dev]'
    printf '%s' "$wanted" >"$stamp"
}

mapfile -t missing < <(missing_packages)
if [[ "${#missing[@]}" -gt 0 ]]; then
    install_packages "${missing[@]}"
fi
install_project
"$venv/bin/python" -m rnnc.toolchain.cmsis
