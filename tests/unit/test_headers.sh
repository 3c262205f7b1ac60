#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Each header compiles alone, that is, includes what it needs; and twice, that is, has its guard.
set -u

: "${top_srcdir:=.}" "${top_builddir:=.}" "${CC:=cc}" "${PKG_CONFIG:=pkg-config}"

flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-const-variable
    -Wno-unused-variable "-I$top_builddir" "-I$top_srcdir/libproto" "-I$top_srcdir/daemon"
    "-I$top_builddir/daemon/control" "-I$top_srcdir/ctl")
for module in json-c libuv libsystemd zlib libdeflate; do
    # Word splitting is meant: flags.
    # shellcheck disable=SC2207
    flags+=($("$PKG_CONFIG" --cflags "$module" 2>/dev/null))
done

mapfile -t headers < <(find "$top_srcdir/libproto" "$top_srcdir/daemon" "$top_srcdir/ctl" \
    -name '*.h' | sort)
if [ "${#headers[@]}" -lt 10 ]; then
    echo "only ${#headers[@]} headers under $top_srcdir: is top_srcdir right?" >&2
    exit 1
fi

compile() {
    printf '#include "%s"\n#include "%s"\nint not_empty;\n' "$1" "$1" |
        "$CC" "${flags[@]}" -fsyntax-only -x c - && return
    echo "$1 does not compile alone" >&2
    return 1
}

status=0
jobs=()
for header in "${headers[@]}"; do
    compile "$(realpath "$header")" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do
    wait "$job" || status=1
done
echo "${#headers[@]} headers"
exit $status
