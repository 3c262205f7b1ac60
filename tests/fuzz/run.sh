#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds each fuzz target with libFuzzer and runs it for FUZZ_SECONDS; what it finds stays in
# tests/fuzz/found of the build folder, a crash beside it. Exit 77 without the compiler.
set -eu

: "${FUZZ_CC:=clang-14}" "${FUZZ_SECONDS:=60}" "${FUZZ_TARGETS:=message version stream config state}"
: "${top_srcdir:=.}" "${top_builddir:=.}" "${FUZZ_CPPFLAGS:=}" "${FUZZ_LIBS:=-ljson-c}"

command -v "$FUZZ_CC" >/dev/null || {
    echo "fuzz: $FUZZ_CC is not there: install it, or name another clang with FUZZ_CC" >&2
    exit 77
}
src=$top_srcdir/tests/fuzz
out=$top_builddir/tests/fuzz
for target in $FUZZ_TARGETS; do
    mkdir -p "$out/found/$target"
    # Word splitting is meant: these are lists of flags and files.
    # shellcheck disable=SC2086
    "$FUZZ_CC" -std=gnu11 -g -O1 -fno-strict-aliasing -fno-omit-frame-pointer \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
        $FUZZ_CPPFLAGS -o "$out/fuzz_$target" "$src/fuzz_$target.c" $FUZZ_FILES $FUZZ_LIBS
    if ! "$out/fuzz_$target" -max_total_time="$FUZZ_SECONDS" -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$out/found/$target-" "$out/found/$target" "$src/corpus/$target" \
        >"$out/fuzz_$target.log" 2>&1; then
        tail -n 60 "$out/fuzz_$target.log"
        echo "fuzz: $target: FAILED"
        exit 1
    fi
    echo "fuzz: $target: $(grep '^Done' "$out/fuzz_$target.log"), nothing found"
done
