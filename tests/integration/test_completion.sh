#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The shells' completion of vfuctl: commands, options, values, instances and files. bash's function
# is called as bash does; zsh, where it is installed, is typed to. Needs VFUCTL and top_srcdir.
set -u

. "$(dirname "$0")/lib.sh"

fake=
export VFIO_USERD_RUN_DIR=$dir/run
mkdir -p "$dir/run/dev0" "$dir/run/dev1" "$dir/files"
touch "$dir/files/control.one" "$dir/files/control.two"
echo > "$dir/script"
for name in dev0 dev1; do
    "$FAKE_VARLINK" "$dir/run/$name/control.sock" "$dir/script" &
    fake+=" $!"
    until [ -S "$dir/run/$name/control.sock" ]; do sleep 0.01; done
done
# shellcheck disable=SC2086
trap 'kill $fake; wait $fake 2> /dev/null; cleanup' EXIT

# shellcheck source=/dev/null
. "$top_srcdir/contrib/completions/vfuctl.bash"

# completes WANT WORD...: what the last word can become, after the others. bash breaks words at "=".
completes() {
    local want=$1 IFS=' '

    shift
    COMP_WORDS=(vfuctl "$@")
    COMP_CWORD=$#
    _vfuctl "$VFUCTL" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    if [ "${COMPREPLY[*]}" = "$want" ]; then
        ok "bash: $*: $want"
    else
        not_ok "bash: $*: ${COMPREPLY[*]}, not $want"
    fi
}

commands=$("$VFUCTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | xargs)
common='--device --help --json --quiet --socket --version'
completes "$commands" ''
completes "$commands" --json ''
completes "$commands" -d dev0 ''
completes "$commands" --device = dev0 ''
completes 'status stats' st
completes '--device' --d
completes "$common" --
completes "--device --format --help --json --quiet --socket --version" dump-config --
completes '--index' trigger-irq --i
completes 'dev0 dev1' -d ''
completes 'dev0 dev1' --device = d
completes 'dev0 dev1' --device =
completes 'dev0 dev1' status -d ''
completes 'lspci hex json raw' dump-config --format ''
completes 'hex' dump-config -f h
completes 'json' -q dump-config --format = j
completes 'table json openmetrics' -S /x stats --format ''
completes '--format=openmetrics' stats --format=o
completes 'intx msi msix err req' trigger-irq --vector 3 --index ''
completes '' trigger-irq --vector ''
completes 'err warning info debug' log-level ''
completes 'debug' log-level --json d
completes '' status ''
completes '' stauts --format ''
completes "$dir/files/control.one $dir/files/control.two" -S "$dir/files/control."

# Every command and option of the program is among what is completed.
for command in $commands; do
    "$VFUCTL" "$command" --help | sed -nE 's/^ +(-[a-z], )?(--[a-z-]+)( [A-Z]+)?  .*/\2/p' \
        > "$dir/want"
    tr ' ' '\n' <<< "$common" >> "$dir/want"
    completes "$(sort "$dir/want" | xargs)" "$command" --
done

# zsh, on a terminal of its own: what is on the screen after a TAB.
screen() {
    zsh -f << EOZ
zmodload zsh/zpty || exit 1
zpty z zsh -f -i
type() { zpty -w -n z "\$1"; }
# Until the text has been written, and whatever follows it at once; the screen is in \$all.
await() {
    local part
    integer i
    for ((i = 0; i < 300; i++)); do
        while zpty -r -t z part; do all+=\$part; done
        [[ \$all == *\$1* ]] && return
        sleep 0.02
    done
}
all=
type $'PS1=; stty rows 50 columns 200; fpath=($top_srcdir/contrib/completions \$fpath); path=($(dirname "$VFUCTL") \$path); autoload -U compinit; compinit -u -D; zstyle ":completion:*" list-prompt ""; LISTMAX=1000; echo re"ad"y\n'
await ready
all=
type $'$1\t$2'
await '$3'
sleep 0.2
while zpty -r -t z part; do all+=\$part; done
print -r -- "\$all"
zpty -d z
EOZ
}

# zsh_completes TYPED TABS WORD...: that those are on the screen after one TAB more than TABS.
zsh_completes() {
    local typed=$1 word

    screen "$typed" "$2" "${*: -1}" > "$dir/out" 2>&1
    shift 2
    for word in "$@"; do
        if ! grep -aqF -- "$word" "$dir/out"; then
            not_ok "zsh: $typed: no $word"
            return
        fi
    done
    ok "zsh: $typed: $*"
}

if command -v zsh > /dev/null; then
    zsh_completes 'vfuctl ' '' 'trigger-irq' 'raise an interrupt' 'quit'
    zsh_completes 'vfuctl --js' '' '--json'
    zsh_completes 'vfuctl -d ' '\t' 'dev0' 'dev1'
    zsh_completes 'vfuctl log-level ' '\t' 'err' 'warning' 'info' 'debug'
    zsh_completes 'vfuctl -d dev0 dump-config --format ' '\t' 'lspci' 'hex' 'json' 'raw'
    zsh_completes 'vfuctl stats --format=o' '' 'openmetrics'
    zsh_completes 'vfuctl --json trigger-irq --ind' '' '--index'
    zsh_completes "vfuctl -S $dir/files/con" '\t' 'control.one' 'control.two'
else
    echo 'skipped: zsh is not installed'
fi

finish
