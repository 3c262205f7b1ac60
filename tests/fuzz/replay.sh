#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every fuzz target over its corpus and a fixed number of mutations of it; a stream takes longest.
set -u

: "${top_srcdir:=.}" "${top_builddir:=.}"
status=0
for target in message version stream config state; do
    count=20000
    [ "$target" != stream ] || count=3000
    "$top_builddir/tests/fuzz/replay_$target" "$top_srcdir/tests/fuzz/corpus/$target" \
        "${FUZZ_MUTATIONS:-$count}" || {
        echo "replay_$target: exit status $?" >&2
        status=1
    }
done
exit $status
