#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds and runs every suite, on a Debian 12 machine as root, from a clone. Installs what it needs
# by apt. What CI runs is this and nothing else.
#
#   tests/run.sh           all of it
#   tests/run.sh STEP...   only these: packages format check sanitize bare e2e distcheck fuzz
#
# Builds go to build-run/ and build-run-*/, which git ignores; the roots and kernels of the
# end-to-end tests to ${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
jobs=$(nproc)
log=$top/build-run/run.log
results=()
failed=0

packages=(
    # build; systemd for the directories that its pkg-config file names
    build-essential autoconf automake pkg-config libuv1-dev libjson-c-dev zlib1g-dev libdeflate-dev
    libsystemd-dev systemd libbsd-dev linux-libc-dev git
    # check
    check pciutils libkmod2 util-linux procps mandoc groff-base zsh tshark
    # format, fuzz
    clang-format-14 clang-14 libclang-rt-14-dev
    # end to end
    debootstrap busybox-static cpio gzip systemd-container
)

say() {
    printf '\n=== %s\n' "$*"
}

# promtool, which is of the package prometheus: only that, unpacked to the cache, since the package
# starts a server.
get_promtool() {
    local cache=${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}
    command -v promtool > /dev/null || [ -x "$cache/promtool" ] && return 0
    echo "unpacking: promtool"
    mkdir -p "$cache/prometheus" && cd "$cache/prometheus" &&
        apt-get download -qq prometheus >> "$log" 2>&1 &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -O ./usr/bin/promtool > promtool &&
        chmod 755 promtool && mv promtool .. && rm -r "$cache/prometheus"
}

step_packages() {
    local missing=() p
    for p in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' ||
            missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && (get_promtool) && return 0
    echo "installing: ${missing[*]}"
    apt-get update -qq > "$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" >> "$log" 2>&1 && (get_promtool) && return 0
    tail -n 30 "$log"
    return 1
}

step_format() {
    git ls-files '*.[ch]' | xargs clang-format-14 --dry-run -Werror
}

# build DIR [configure option]...: out of tree; quiet but for warnings and errors.
build() {
    local dir=$1
    shift
    mkdir -p "$dir"
    if ! { { [ -x configure ] || ./autogen.sh; } && cd "$dir" &&
        { [ -e config.status ] || "$top/configure" --enable-werror "$@"; } &&
        make -j "$jobs"; } > "$dir/build.log" 2>&1; then
        grep -E 'error|warning|\*\*\*' "$dir/build.log" | head -n 40
        echo "the build failed: see $dir/build.log"
        return 1
    fi
    cd "$top" || return 1
}

# check DIR: `make check`, with the runners' own summaries.
check() {
    local status=0 f
    make -C "$1" -j "$jobs" check > "$1/check.log" 2>&1 || status=1
    grep -hE '^(PASS|FAIL|ERROR|SKIP|XPASS)|^# (TOTAL|PASS|SKIP|FAIL|ERROR)' "$1/check.log"
    for f in "$1"/tests/*/*.log; do
        [ -e "$f" ] && grep -HE '^[0-9]+%: Checks:|^[0-9]+ passed, ' "$f" | sed "s|^$top/||"
    done
    if [ "$status" -ne 0 ]; then
        grep -hE 'error:|\*\*\*' "$1/check.log" | head -n 20
        [ -e "$1/test-suite.log" ] && tail -n 200 "$1/test-suite.log"
    fi
    return "$status"
}

step_check() {
    build "$top/build-run" && check "$top/build-run"
}

step_sanitize() {
    ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    export ASAN_OPTIONS UBSAN_OPTIONS
    build "$top/build-run-san" --enable-sanitizers CFLAGS='-O1 -g' && check "$top/build-run-san"
}

# Without the service manager: it must build, and nothing else may change.
step_bare() {
    build "$top/build-run-bare" --without-libsystemd && check "$top/build-run-bare"
}

step_e2e() {
    build "$top/build-run" && build "$top/build-run-san" --enable-sanitizers CFLAGS='-O1 -g' &&
        say 'end to end' && make -C "$top/build-run" check-e2e &&
        say 'end to end, sanitized' && make -C "$top/build-run-san" check-e2e
}

step_distcheck() {
    build "$top/build-run" || return 1
    make -C "$top/build-run" -j "$jobs" distcheck > "$top/build-run/dist.log" 2>&1 || {
        tail -n 60 "$top/build-run/dist.log"
        return 1
    }
    grep -A 3 'ready for distribution' "$top/build-run/dist.log"
}

step_fuzz() {
    build "$top/build-run" && make -C "$top/build-run" fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-15}"
}

run_step() {
    local name=$1 begin=$SECONDS status=0
    say "$name"
    (set -o pipefail; "step_$name") || status=1
    results+=("$(printf '%-10s %-6s %4d s' "$name" \
        "$([ "$status" -eq 0 ] && echo passed || echo FAILED)" $((SECONDS - begin)))")
    failed=$((failed + status))
    return "$status"
}

mkdir -p "$top/build-run"
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(packages format check sanitize bare e2e distcheck fuzz)
for step in "${steps[@]}"; do
    if ! declare -F "step_$step" > /dev/null; then
        echo "tests/run.sh: no such step: $step" >&2
        exit 2
    fi
    run_step "$step" || { [ "$step" = packages ] && break; }
done

say 'summary'
printf '%s\n' "${results[@]}"
echo "$((${#results[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
