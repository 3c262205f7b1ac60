#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# contrib/wireshark/vfio-user.lua on messages made by hand: those that no client of ours sends
# (migration, I/O fds, old shapes), cut ones and wrong ones. text2pcap makes the file.
set -u

. "$(dirname "$0")/lib.sh"

for program in tshark text2pcap editcap; do
    command -v "$program" > /dev/null || {
        echo "$program is not installed"
        exit 77
    }
done
[ "$(printf '\1\0' | od -An -tu2 | tr -d ' ')" = 1 ] || {
    echo 'the messages are little-endian, this machine is not'
    exit 77
}
dissector=$top_srcdir/contrib/wireshark/vfio-user.lua

# u16 N..., u32, u64: as hexadecimal digits, the lowest byte first.
number() {
    local digits=$1 n text i
    shift
    for n; do
        printf -v text "%0${digits}x" "$n"
        for ((i = digits - 2; i >= 0; i -= 2)); do printf '%s' "${text:i:2}"; done
    done
}
u16() { number 4 "$@"; }
u32() { number 8 "$@"; }
u64() { number 16 "$@"; }

# message I|O ID COMMAND FLAGS ERROR [PAYLOAD]: I is from the client. CLAIM, if set, is the size in
# the header.
message() {
    local payload=${6-} bytes i
    bytes="$(u16 "$2" "$3")$(u32 "${CLAIM:-$((16 + ${#payload} / 2))}" "$4" "$5")$payload"
    printf '%s\n000000' "$1"
    for ((i = 0; i < ${#bytes}; i += 2)); do printf ' %s' "${bytes:i:2}"; done
    printf '\n'
}

# make NAME: standard input, of messages, becomes $dir/NAME.pcapng.
make() {
    cat > "$dir/text"
    text2pcap -q -D -l 147 "$dir/text" "$dir/$1.pcapng" > "$dir/err" 2>&1 || not_ok "text2pcap"
}

# dissect NAME OPTION...
dissect() {
    local name=$1
    shift
    HOME=$dir tshark -r "$dir/$name.pcapng" -X "lua_script:$dissector" "$@" 2> "$dir/err"
}

# shows NAME EXPECTED OPTION...: what tshark prints.
shows() {
    local name=$1 expected=$2
    shift 2
    dissect messages "$@" > "$dir/out"
    if [ "$(cat "$dir/out")" = "$expected" ]; then ok "$name"; else not_ok "$name"; fi
}

# fields NAME FRAME EXPECTED FIELD...: separated by |.
fields() {
    local name=$1 frame=$2 expected=$3 field arguments=()
    shift 3
    for field; do arguments+=(-e "vfio_user.$field"); done
    shows "$name" "$expected" -Y "frame.number == $frame" -T fields -E 'separator=|' \
        "${arguments[@]}"
}

GET=$((1 << 16)) SET=$((1 << 17)) PROBE=$((1 << 18))
{
    # 1, 2: what migration the device knows
    message I 1 16 0 0 "$(u32 16 $((GET + 1)))"
    message O 1 16 1 0 "$(u32 16 $((GET + 1)))$(u64 5)"
    # 3, 4: another state
    message I 2 16 0 0 "$(u32 16 $((SET + 2)) 3 0xffffffff)"
    message O 2 16 1 0 "$(u32 16 $((SET + 2)) 3 0xffffffff)"
    # 5, 6: logging begins, and its report
    message I 3 16 0 0 "$(u32 40 $((SET + 6)))$(u64 4096)$(u32 2 0)$(u64 0x1000 0x2000 0x8000 0x1000)"
    message O 4 16 1 0 "$(u32 40 $((GET + 8)))$(u64 0x1000 0x2000 4096 3)"
    # 7, 8: a probe; a feature without a name
    message I 5 16 0 0 "$(u32 8 $((PROBE + SET + 7)))"
    message I 6 16 0 0 "$(u32 12 $((GET + 77)) 5)"
    # 9 to 12: migration data
    message I 7 17 0 0 "$(u32 24 16)"
    message O 7 17 1 0 "$(u32 12 4)01020304"
    message I 8 18 0 0 "$(u32 12 4)0a0b0c0d"
    message O 8 18 1 0 "$(u32 8 4)"
    # 13: I/O fds
    message O 9 6 1 0 "$(u32 112 0 0 2)$(u64 0x10 4)$(u32 0 0 1 0)$(u64 0x77)$(u64 0x20 8)$(u32 1 1 2 0)$(u64 0x99)"
    # 14 to 17: the server's DMA, in the specification's shape and in QEMU 10's, with the same id as
    # a request of the client
    message I 20 9 0 0 "$(u64 0)$(u32 0 4)"
    message O 20 11 0 0 "$(u64 0x5000 4)"
    message O 20 9 1 0 "$(u64 0)$(u32 0 4)$(u32 0x12345678)"
    message I 20 11 1 0 "$(u64 0x5000)$(u32 4)aabbccdd$(u32 0)"
    # 18, 19
    message O 21 12 0 0 "$(u64 0x6000 2)beef"
    message I 21 12 1 0
    # 20, 21: ids that are in use twice: the oldest is answered first
    message I 30 10 0 0 "$(u64 8)$(u32 0 1)ff"
    message I 30 10 0 0 "$(u64 9)$(u32 0 1)fe"
    message O 30 10 1 0 "$(u64 8)$(u32 0 1)"
    message O 30 10 33 22
    # 24: a reply that nobody asked for
    message O 31 13 1 0
    # 25: unknown command; 26: neither command nor reply
    message I 40 200 0 0 00112233
    message I 41 9 2 0
    # 27: too short; 28: too long; 29: the header lies; 30: no header
    message I 42 2 0 0 "$(u32 32 3)$(u64 0)"
    message I 43 13 0 0 "$(u32 0)"
    CLAIM=500 message I 44 13 0 0
    printf 'I\n000000 01 02 03\n'
    # 31: an errno without a name; 32: capabilities that go round in a circle
    message O 45 13 33 4000
    message O 46 5 1 0 "$(u32 48 15 1 32)$(u64 4096 0)$(u16 1 1)$(u32 32 0 0)"
    # 33: 2^64-1 writes, of which there is one; 34: areas without end
    message I 47 15 0 0 "ffffffffffffffff$(u64 8)$(u32 1 8)$(u64 3)"
    message O 48 5 1 0 "$(u32 48 15 1 32)$(u64 4096 0)$(u16 1 1)$(u32 0 0xffffffff 0)"
    # 35: more data than there is
    message I 49 10 0 0 "$(u64 0)$(u32 1 100)0102"
    # 36: VERSION
    message I 50 1 0 0 "$(u16 0 1)$(printf '{"capabilities":{"max_msg_fds":3,"vm_interrupt":true,"twin_socket":{"supported":true,"fd_index":1},"migration":{"pgsize":4096}}}' | od -An -v -tx1 | tr -d ' \n')00"
    # 37 to 40: I/O fds with shadow memory, asked for with too little room first
    message I 60 6 0 0 "$(u32 16 0 0 0)"
    message O 60 6 1 0 "$(u32 64 0 0 1)"
    message I 61 6 0 0 "$(u32 64 0 0 0)"
    message O 61 6 1 0 "$(u32 64 0 0 1)$(u64 0x800 4)$(u32 0 2 0 1)$(u64 0x40 0)"
    # 41, 42: none; 43: the wide shape without shadow memory
    message I 62 6 0 0 "$(u32 16 0 7 0)"
    message O 62 6 1 0 "$(u32 16 0 7 0)"
    message O 63 6 1 0 "$(u32 64 0 0 1)$(u64 0x800 4)$(u32 0 0 1 0)$(u64 0 0x55)"
    # 44, 45: an interrupt by message, with the id of a request of the client; 46, 47: others
    message I 64 9 0 0 "$(u64 0)$(u32 0 4)"
    message O 64 16384 0 0 "$(u32 0 0)"
    message I 64 16384 1 0
    message O 65 16384 0 0 "$(u32 2 1)"
    message I 65 16384 33 22
    # 49, 50: too short, too long; 51: not all entries
    message O 66 16384 0 0 "$(u32 2)"
    message O 67 16384 0 0 "$(u32 2 1 0)"
    message O 68 6 1 0 "$(u32 112 0 0 2)$(u64 0x800 4)$(u32 0 2 0 1)$(u64 0x40 0)$(u64 0x900)"
} | make messages

shows 'no error in the script' '' -Y '_ws.lua.error'
shows 'the lines of the list' "$(cat <<'END'
DEVICE_FEATURE, id 1: GET MIGRATION
DEVICE_FEATURE reply, id 1: GET MIGRATION
DEVICE_FEATURE, id 2: SET MIG_DEVICE_STATE, STOP_COPY
DEVICE_FEATURE reply, id 2: SET MIG_DEVICE_STATE, STOP_COPY
DEVICE_FEATURE, id 3: SET DMA_LOGGING_START
DEVICE_FEATURE reply, id 4: GET DMA_LOGGING_REPORT
DEVICE_FEATURE, id 5: SET+PROBE DMA_LOGGING_STOP
DEVICE_FEATURE, id 6: GET 77
MIG_DATA_READ, id 7: 16 bytes
MIG_DATA_READ reply, id 7: 4 bytes
MIG_DATA_WRITE, id 8: 4 bytes
MIG_DATA_WRITE reply, id 8: 4 bytes
DEVICE_GET_REGION_IO_FDS reply, id 9: BAR0, 2 sub-regions
REGION_READ, id 20: BAR0 0x0, 4 bytes
DMA_READ, id 20: 0x5000, 4 bytes
REGION_READ reply, id 20: BAR0 0x0, 4 bytes, = 0x12345678
DMA_READ reply, id 20: 0x5000, 4 bytes, = 0xddccbbaa
DMA_WRITE, id 21: 0x6000, 2 bytes, = 0xefbe
DMA_WRITE reply, id 21
REGION_WRITE, id 30: BAR0 0x8, 1 bytes, = 0xff
REGION_WRITE, id 30: BAR0 0x9, 1 bytes, = 0xfe
REGION_WRITE reply, id 30: BAR0 0x8, 1 bytes
REGION_WRITE reply, id 30, EINVAL
DEVICE_RESET reply, id 31
command 200, id 40
REGION_READ, id 41
DMA_MAP, id 42: ?, size ?, file offset 0x0
DEVICE_RESET, id 43
DEVICE_RESET, id 44

DEVICE_RESET reply, id 45, 4000
DEVICE_GET_REGION_INFO reply, id 46: BAR1, size 0x1000
REGION_WRITE_MULTI, id 47: 18446744073709551615 writes
DEVICE_GET_REGION_INFO reply, id 48: BAR1, size 0x1000
REGION_WRITE, id 49: BAR1 0x0, 100 bytes
VERSION, id 50: 0.1
DEVICE_GET_REGION_IO_FDS, id 60: BAR0
DEVICE_GET_REGION_IO_FDS reply, id 60: BAR0, 1 sub-regions, needs 64 bytes
DEVICE_GET_REGION_IO_FDS, id 61: BAR0
DEVICE_GET_REGION_IO_FDS reply, id 61: BAR0, 1 sub-regions
DEVICE_GET_REGION_IO_FDS, id 62: config
DEVICE_GET_REGION_IO_FDS reply, id 62: config, 0 sub-regions
DEVICE_GET_REGION_IO_FDS reply, id 63: BAR0, 1 sub-regions
REGION_READ, id 64: BAR0 0x0, 4 bytes
VM_INTERRUPT, id 64: INTx 0
VM_INTERRUPT reply, id 64
VM_INTERRUPT, id 65: MSI-X 1
VM_INTERRUPT reply, id 65, EINVAL
VM_INTERRUPT, id 66: MSI-X ?
VM_INTERRUPT, id 67: MSI-X 1
DEVICE_GET_REGION_IO_FDS reply, id 68: BAR0, 2 sub-regions
END
)" -T fields -e _ws.col.Info
fields 'MIGRATION' 2 '0x0000000000000005|1|0|1' migration.flags migration.stop_copy \
    migration.p2p migration.pre_copy
fields 'MIG_DEVICE_STATE' 3 '2|0|1|3|-1' feature.index feature.get feature.set migration.state \
    migration.data_fd
fields 'DMA_LOGGING_START' 5 '4096|2|0x0000000000001000,0x0000000000008000' logging.page_size \
    logging.num_ranges logging.iova
fields 'DMA_LOGGING_REPORT' 6 '0300000000000000' logging.bitmap
fields 'MIG_DATA_READ' 10 '01020304|9' data request_in
fields 'GET_REGION_IO_FDS' 13 '0,1|0,1|0x0000000000000077|0x0000000000000099|1|1' \
    io_fds.fd_index io_fds.type io_fds.match io_fds.user_data io_fds.datamatch io_fds.posted
fields 'shadow memory' 40 '39|0x0000000000000800|0x0000000000000004|0|2|1|0x0000000000000040' \
    request_in offset length io_fds.fd_index io_fds.type io_fds.shadow_fd_index \
    io_fds.shadow_offset
fields 'an entry of 48 bytes without' 43 '0|1||0x0000000000000055' io_fds.type io_fds.datamatch \
    io_fds.shadow_fd_index io_fds.match
fields 'VM_INTERRUPT' 47 '2|1' irq vm_interrupt.subindex
fields 'and its reply' 46 '45|1' request_in direction
fields 'ids are of a direction: the client asks' 16 '14|0x0000000012345678' request_in value
fields 'and the server' 17 '15|aabbccdd' request_in data
fields 'the same id twice: the first' 22 '20' request_in
fields 'and the second, which failed' 23 '21|22' request_in error
fields 'VERSION' 36 '3|1|1|1|4096' version.max_msg_fds version.vm_interrupt version.twin_socket \
    version.twin_socket_fd version.migration.pgsize
shows 'what is malformed' "$(printf '%s\n' 26 27 29 30 33 34 35 49 51)" -Y vfio_user.malformed \
    -T fields -e frame.number
shows 'what is unknown' 25 -Y vfio_user.unknown -T fields -e frame.number
shows 'what is too long' "$(printf '%s\n' 28 50)" -Y vfio_user.excess -T fields -e frame.number
shows 'what failed' "$(printf '%s\n' 23 31 48)" -Y vfio_user.failed -T fields -e frame.number
shows 'what was not asked for' "$(printf '%s\n' 6 13 24 31 32 34 43 51)" -Y vfio_user.no_request \
    -T fields -e frame.number

# What the capture says in comments, of which the first is VERSION's.
editcap -a '36:pid 1, uid 0, protocol 0.1, twin socket, 1 fd' -a '45:twin socket' \
    -a '46:twin socket, 2 fds' "$dir/messages.pcapng" "$dir/comments.pcapng"
dissect comments -T fields -e frame.number -e vfio_user.fds -e _ws.col.Info -Y 'frame.comment' \
    > "$dir/out"
printf '%s\t%s\t%s\n' 36 1 'VERSION, id 50: 0.1 [1 fd]' 45 '' 'VM_INTERRUPT, id 64: INTx 0 [twin]' \
    46 2 'VM_INTERRUPT reply, id 64 [2 fds] [twin]' > "$dir/expected"
if cmp -s "$dir/out" "$dir/expected"; then ok 'comments'; else not_ok 'comments'; fi
dissect comments -T fields -e frame.number -Y 'vfio_user.twin == 1' > "$dir/out"
if [ "$(cat "$dir/out")" = "$(printf '45\n46')" ]; then ok 'twin'; else not_ok 'twin'; fi

# Cut anywhere, nothing that was right becomes wrong.
for ((length = 1; length < 72; length += 5)); do
    editcap -s "$length" "$dir/messages.pcapng" "$dir/cut.pcapng"
    dissect cut -Y '_ws.lua.error || (vfio_user.malformed && frame.number < 26)' > "$dir/out"
    if [ ! -s "$dir/out" ]; then ok "cut at $length"; else not_ok "cut at $length"; fi
done

finish
