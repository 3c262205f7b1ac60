# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# bash completion of vfuctl, which says itself what there is: see "vfuctl --completion-data".

# _vfuctl_values VALUE CHOICES WORD: what an option or argument of that kind can be, as COMPREPLY.
_vfuctl_values() {
    local words=${2//|/ }

    case $1 in
    NAME) words=$instances ;;
    DEST)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W "$instances" -- "$3"; compgen -f -- "$3")
        return
        ;;
    FILE | PATH)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$3")
        return
        ;;
    esac
    [ "$words" != - ] || return 0
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$3")
}

_vfuctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} program=${1/#\~\//$HOME/} command=- awaited=
    local kind of name letter value choices i word commands='' instances='' options='' prefix=''
    local -A values=() choices_of=()

    COMPREPLY=()
    while IFS=$'\t' read -r kind of name letter value choices _; do
        case $kind in
        option)
            for word in "$name" "$letter"; do
                values[$of $word]=$value
                choices_of[$of $word]=$choices
            done
            ;;
        command) commands+=" $of" ;;
        argument)
            values[$of]=$name
            choices_of[$of]=$letter
            ;;
        instance) instances+=" $of" ;;
        esac
    done < <("$program" --completion-data 2>/dev/null)

    # What stands before the word: the command, and the option that waits for its value.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ "$word" = = ]; then
            continue
        elif [ -n "$awaited" ]; then
            awaited=
        elif [[ $word == -* && $word != *=* ]]; then
            awaited="$command $word"
            [ -n "${values[$awaited]-}" ] || awaited="- $word"
            [ "${values[$awaited]:--}" != - ] || awaited=
        elif [[ $word != -* && $command = - ]]; then
            command=$word
        fi
    done

    [ "$cur" != = ] || cur=
    if [[ $cur == --*=* ]]; then
        prefix=${cur%%=*}=
        awaited="$command ${cur%%=*}"
        [ -n "${values[$awaited]-}" ] || awaited="- ${cur%%=*}"
        cur=${cur#*=}
    fi
    if [ -n "$awaited" ]; then
        _vfuctl_values "${values[$awaited]-}" "${choices_of[$awaited]-}" "$cur"
        COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
    elif [[ $cur == -* ]]; then
        for word in "${!values[@]}"; do
            case $word in
            "$command --"* | '- --'*) options+=" ${word#* }" ;;
            esac
        done
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur" | sort)
    elif [ "$command" = - ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    elif [ -n "${values[$command]-}" ]; then
        _vfuctl_values "${values[$command]}" "${choices_of[$command]}" "$cur"
    fi
}

complete -F _vfuctl vfuctl
