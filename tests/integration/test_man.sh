#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The man pages say what the programs do: commands and options are those of --help, the keys are
# those of the parser's tables, methods, types and errors are the interface's, each example is a
# valid description; and mandoc and groff, where they are installed, find nothing wrong. Needs
# VFIO_USERD, VFUCTL, top_srcdir and top_builddir.
set -u

. "$(dirname "$0")/lib.sh"

program_page=$top_builddir/daemon/vfio-userd.8
description_page=$top_builddir/daemon/vfio-userd.json.5
vfuctl_page=$top_builddir/ctl/vfuctl.1
interface_page=$top_builddir/daemon/control/io.vfiouserd.Device.7
interface=$top_srcdir/daemon/control/io.vfiouserd.Device.varlink
parser=$top_srcdir/daemon/config.c

# same NAME [FEWEST]: that $dir/want and $dir/have have the same lines, in any order, and not too
# few.
same() {
    if [ "$(wc -l < "$dir/want")" -lt "${2:-10}" ]; then
        not_ok "$1: only $(wc -l < "$dir/want") were found: has the source another form now?"
    elif ! diff <(sort "$dir/want") <(sort "$dir/have") > "$dir/out"; then
        not_ok "$1: the page has those marked >, and lacks those marked <"
    else
        ok "$1: $(wc -l < "$dir/want") of them"
    fi
    rm -f "$dir/out"
}

# "  --fd N   use file ..." and ".It Fl -fd Ar n" both become "--fd n".
"$VFIO_USERD" --help | sed -nE 's/^ +(-[a-zA-Z], )?(--[a-z-]+( [A-Z]+)?)( .*)?$/\2/p' |
    tr '[:upper:]' '[:lower:]' > "$dir/want"
sed -nE 's/^\.It Fl -([a-z-]+)/--\1/p' "$program_page" | sed 's/ Ar / /' > "$dir/have"
same 'options'

# help_options: "-f, --format FORM ..." becomes "-f --format form", "LEVEL ..." "level".
help_options() {
    sed -nE -e '/^Commands:/q' \
        -e 's/^ +(-[a-zA-Z], )?(--[a-z-]+( [A-Z]+)?)  .*/\1\2/p' \
        -e 's/^  ([A-Z]+)  .*/\1/p' | tr -d , | sed -E 's/ [A-Z]+$/\L&/; s/^[A-Z]+$/\L&/'
}

# The same of vfuctl, those of its commands with the command's name before them.
mapfile -t commands < <("$VFUCTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
{
    "$VFUCTL" --help | help_options
    for command in "${commands[@]}"; do
        echo "$command"
        "$VFUCTL" "$command" --help | help_options | sed "s/^/$command /"
    done
} > "$dir/want"
awk '
    /^\.S[sh] / { command = $2 ~ /^[a-z]/ ? $2 : "" }
    /^\.Ss / { print command }
    /^\.It (Fl|Ar) / && (command != "" || section) {
        sub(/^\.It Fl /, "-"); sub(/^\.It Ar /, ""); gsub(/ , Fl /, " -"); sub(/ Ar /, " ")
        print (command != "" ? command " " : "") $0
    }
    /^\.Sh / { section = $2 == "DESCRIPTION" }
' "$vfuctl_page" > "$dir/have"
same "vfuctl's commands and options"

# page_section PAGE NAME: the subsection of that name, as text.
page_section() {
    sed -n "/^\\.Ss $2\$/,/^\\.S[sh] /p" "$1" | sed '1d;$d' | sed 's/\\-/-/g'
}

# The values that an option takes are all told of, and each command has an example.
"$VFUCTL" --completion-data | awk -F '\t' '
    function tell(choices,  n, i, words) {
        n = split(choices, words, "|")
        for (i = 1; i <= n; i++)
            print $2, words[i]
    }
    $1 == "option" && $6 != "-" { tell($6) }
    $1 == "argument" && $4 != "-" { tell($4) }' > "$dir/want"
while read -r command value; do
    page_section "$vfuctl_page" "$command" | grep -qE "^\.Cm $value( |\$)" &&
        echo "$command $value"
done < "$dir/want" > "$dir/have"
same "vfuctl's values"
printf '%s\n' "${commands[@]}" > "$dir/want"
for command in "${commands[@]}"; do
    page_section "$vfuctl_page" "$command" | grep -qE "^[#$] vfuctl .*\b$command\b" &&
        echo "$command"
done > "$dir/have"
same "vfuctl's examples" 9

# The interface: methods, types and errors, with their fields, whether in or out.
sed 's/#.*//' "$interface" | tr '\n' ' ' | sed -E 's/(method|type|error) /\n&/g' | awk '
    /^(method|type|error) / {
        name = $2; sub(/\(.*/, "", name)
        print $1, name
        gsub(/[(),]/, " ")
        for (i = 3; i <= NF; i++)
            if ($i ~ /:$/)
                print $1, name, substr($i, 1, length($i) - 1)
    }' | sed 's/ [A-Za-z]*(\([a-z_]*\):/ \1/' > "$dir/want"
awk '
    /^\.Sh / { kind = "" }
    /^\.Sh METHODS$/ { kind = "method" }
    /^\.Sh TYPES$/ { kind = "type" }
    /^\.Sh ERROR REPLIES$/ { kind = "error" }
    /^\.Ss / && kind != "" { name = $2; print kind, name }
    /^\.It Cm / && kind != "" { print kind, name, $3 }
' "$interface_page" > "$dir/have"
same 'methods, types and errors, and their fields' 60
sed -nE 's/^method ([A-Za-z]+).*/\1/p' "$interface" > "$dir/want"
while read -r method; do
    page_section "$interface_page" "$method" > "$dir/text"
    grep -qF "io.vfiouserd.Device.$method" "$dir/text" && grep -qE '^[#$] vfuctl ' "$dir/text" &&
        echo "$method"
done < "$dir/want" > "$dir/have"
same 'methods with an example' 9

# Events, with their ids.
sed -nE 's/^ +\[LOG_EVENT_([A-Z_]+)\] = "([0-9a-f]{32})",$/\1 \2/p' "$top_srcdir/daemon/log.c" \
    > "$dir/want"
sed -nE '/^\.It [A-Z_]+$/{N;s/^\.It ([A-Z_]+)\n\.Li ([0-9a-f]{32})$/\1 \2/p}' "$program_page" \
    > "$dir/have"
same 'events'

# Their fields.
sed -nE '/^enum log_event/,/^}/s/.*\/\* ([A-Z_, ]+) \*\/$/\1/p' "$top_srcdir/daemon/log.h" |
    tr -d ' ' | tr , '\n' | sort -u | sed 's/^/VFIO_USERD_/' > "$dir/want"
sed -n '/^too, and those of these fields/,/^\.El/p' "$program_page" |
    grep -oE 'VFIO_USERD_[A-Z_]+' | sort -u > "$dir/have"
same 'fields'

# table_entries: the names in a parser's table that is given, one a line.
table_entries() {
    grep -oE '\{ *"[a-z0-9_]+" *,' | tr -d '{", '
}

# parser_keys: the tables of keys, with the path that a key has in the page: "bar1.size", and for
# capabilities "capability.offset" when all kinds have it, else "capability.msi.vectors".
parser_keys() {
    local text tables table name prefix kind
    text=$(tr '\n\\' '  ' < "$parser" | tr -s ' ')
    mapfile -t tables < <(grep -oE 'static const struct key [a-z0-9_]+\[\] = \{[^;]*;' <<< "$text")
    for table in "${tables[@]}"; do
        name=$(sed -E 's/.* key ([a-z0-9_]+)\[\].*/\1/' <<< "$table")
        kind=$(grep -oE "\{ *\"[a-z-]+\", PCI_CAP_KIND_[A-Z_]+, $name *\}" <<< "$text" |
            cut -d '"' -f 2)
        case $name in
        root_keys) prefix= ;;
        pci_keys) prefix=pci. ;;
        bar1_keys) prefix=bar1. ;;
        limit_keys) prefix=limits. ;;
        control_keys) prefix=control. ;;
        *) prefix=capability.${kind:-UNKNOWN-TABLE-$name}. ;;
        esac
        table_entries <<< "$table" | sed "s/^/$prefix/"
    done
    grep -oE '#define COMMON_KEYS .*static const struct key pm_keys' <<< "$text" |
        table_entries | sed 's/^/capability./'
}

# page_keys: the same of the page, whose section of capabilities has a subsection for each kind.
page_keys() {
    awk '
        /^\.Sh / { section = $2; kind = "" }
        /^\.Ss / { kind = $2; sub(":", ".", kind) }
        /^\.It Cm / && section == "KEYS" { print $3 }
        /^\.It Cm / && section == "CAPABILITIES" { print "capability." kind $3 }
    ' "$description_page"
}

parser_keys > "$dir/want"
page_keys > "$dir/have"
same 'keys'

# Displays that begin with a brace are descriptions; roff's escapes in them are undone.
awk -v dir="$dir" '
    /^\.Bd -literal/ { first = 1; next }
    /^\.Ed/ { file = ""; next }
    first && /^\{/ { file = dir "/example" ++n ".json" }
    { first = 0 }
    file != "" { gsub(/\\-/, "-"); gsub(/\\\(aq/, "\047"); gsub(/\\e/, "\\"); print > file }
' "$description_page"
for example in "$dir"/example*.json; do
    if "$VFIO_USERD" --check-config --config "$example" > "$dir/out" 2>&1; then
        ok "example $(basename "$example" .json)"
    else
        not_ok "example $(basename "$example" .json) is no valid description"
    fi
done
if [ -e "$dir/example3.json" ]; then
    ok 'there are examples'
else
    not_ok 'there are fewer than three examples'
fi

# The first is the default device in full, so what the page says of defaults is no guess.
"$VFIO_USERD" --dump-config > "$dir/want"
"$VFIO_USERD" --dump-config --config "$dir/example1.json" > "$dir/have" 2> "$dir/err"
if diff "$dir/want" "$dir/have" > "$dir/out"; then
    ok 'the first example is the default device'
else
    not_ok 'the first example is not the default device'
fi

# What is left of mandoc's findings: other pages need not be installed, and the footer names the
# program on purpose.
lint() {
    mandoc -T lint "$1" 2>&1 | grep -F "$1:" |
        grep -v -e 'referenced manual not found' -e 'operating system explicitly specified'
}

# All warnings but that of a line that cannot be broken: the prefix may be long.
warnings() {
    groff -mdoc -ww -W break -Tutf8 -z "$1" 2>&1 | grep -F "$1:"
}

for page in "$program_page" "$description_page" "$vfuctl_page" "$interface_page"; do
    name=$(basename "$page")
    if grep -nE '@[A-Za-z_]+@' "$page" > "$dir/out"; then
        not_ok "$name: something was not substituted"
    else
        ok "$name: all is substituted"
    fi
    if ! command -v mandoc > /dev/null; then
        echo "skipped: $name: mandoc is not installed"
    elif lint "$page" > "$dir/out"; then
        not_ok "$name: mandoc has found something"
    else
        ok "$name: mandoc has found nothing"
    fi
    if ! command -v groff > /dev/null; then
        echo "skipped: $name: groff is not installed"
    elif warnings "$page" > "$dir/out"; then
        not_ok "$name: groff warns"
    else
        ok "$name: groff does not warn"
    fi
done

finish
