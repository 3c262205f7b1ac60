-- SPDX-License-Identifier: BSD-3-Clause
--
-- vfio-user for Wireshark and tshark: names every command and field of the "vfio-user Protocol
-- Specification", pairs replies with their requests, and shows how long they took. For captures of
-- "vfuctl capture", whose packets are messages (link type USER0):
--
--     tshark -X lua_script:vfio-user.lua -r FILE
--
-- Wireshark loads it by itself from its folder for personal Lua plugins (Help, About, Folders).
--
-- In such a capture the packet's direction is inbound for what the client sends, its queue number
-- tells connections apart, and comments say how many fds travelled with a message, and which went
-- over the twin socket.

local proto = Proto("vfio_user", "vfio-user")

-- Numbers and their names

local COMMANDS = {
    [1] = "VERSION", [2] = "DMA_MAP", [3] = "DMA_UNMAP", [4] = "DEVICE_GET_INFO",
    [5] = "DEVICE_GET_REGION_INFO", [6] = "DEVICE_GET_REGION_IO_FDS", [7] = "DEVICE_GET_IRQ_INFO",
    [8] = "DEVICE_SET_IRQS", [9] = "REGION_READ", [10] = "REGION_WRITE", [11] = "DMA_READ",
    [12] = "DMA_WRITE", [13] = "DEVICE_RESET", [15] = "REGION_WRITE_MULTI",
    [16] = "DEVICE_FEATURE", [17] = "MIG_DATA_READ", [18] = "MIG_DATA_WRITE",
    [0x4000] = "VM_INTERRUPT", -- not in the specification: vfio-userd's extension
}
local SENT_BY_SERVER = { [11] = true, [12] = true, [0x4000] = true }

local TYPES = { [0] = "Command", [1] = "Reply" }
local DIRECTIONS = { [0] = "unknown", [1] = "client to server", [2] = "server to client" }
local REGIONS = {
    [0] = "BAR0", [1] = "BAR1", [2] = "BAR2", [3] = "BAR3", [4] = "BAR4", [5] = "BAR5",
    [6] = "ROM", [7] = "config", [8] = "VGA",
}
local IRQS = { [0] = "INTx", [1] = "MSI", [2] = "MSI-X", [3] = "ERR", [4] = "REQ" }
local FEATURES = {
    [0] = "PCI_VF_TOKEN", [1] = "MIGRATION", [2] = "MIG_DEVICE_STATE", [3] = "LOW_POWER_ENTRY",
    [4] = "LOW_POWER_ENTRY_WITH_WAKEUP", [5] = "LOW_POWER_EXIT", [6] = "DMA_LOGGING_START",
    [7] = "DMA_LOGGING_STOP", [8] = "DMA_LOGGING_REPORT", [9] = "MIG_DATA_SIZE",
    [10] = "BUS_MASTER",
}
local STATES = {
    [0] = "ERROR", [1] = "STOP", [2] = "RUNNING", [3] = "STOP_COPY", [4] = "RESUMING",
    [5] = "RUNNING_P2P", [6] = "PRE_COPY", [7] = "PRE_COPY_P2P",
}
local REGION_CAPS = { [1] = "SPARSE_MMAP", [2] = "TYPE", [3] = "MSIX_MAPPABLE" }
local IO_FD_TYPES = { [0] = "IOEVENTFD", [1] = "IOREGIONFD", [2] = "IOEVENTFD_SHADOW" }
local ERRNOS = {
    [0] = "none",
    [1] = "EPERM", [2] = "ENOENT", [3] = "ESRCH", [4] = "EINTR", [5] = "EIO", [6] = "ENXIO",
    [7] = "E2BIG", [9] = "EBADF", [11] = "EAGAIN", [12] = "ENOMEM", [13] = "EACCES",
    [14] = "EFAULT", [16] = "EBUSY", [17] = "EEXIST", [19] = "ENODEV", [22] = "EINVAL",
    [23] = "ENFILE", [24] = "EMFILE", [25] = "ENOTTY", [27] = "EFBIG", [28] = "ENOSPC",
    [29] = "ESPIPE", [32] = "EPIPE", [34] = "ERANGE", [38] = "ENOSYS", [42] = "ENOMSG",
    [61] = "ENODATA", [62] = "ETIME", [71] = "EPROTO", [74] = "EBADMSG", [75] = "EOVERFLOW",
    [90] = "EMSGSIZE", [95] = "ENOTSUP", [103] = "ECONNABORTED", [104] = "ECONNRESET",
    [105] = "ENOBUFS", [107] = "ENOTCONN", [110] = "ETIMEDOUT", [125] = "ECANCELED",
}

-- Fields

local f = proto.fields

-- field("a.b", kind, label, ...) is the filter "vfio_user.a.b", and f["a.b"] here.
local function field(name, kind, label, ...)
    f[name] = ProtoField[kind]("vfio_user." .. name, label, ...)
end

field("id", "uint16", "Message id", base.DEC)
field("command", "uint16", "Command", base.DEC, COMMANDS)
field("size", "uint32", "Message size", base.DEC)
field("flags", "uint32", "Flags", base.HEX)
field("flags.type", "uint32", "Type", base.DEC, TYPES, 0xf)
field("flags.no_reply", "bool", "No_reply", 32, nil, 0x10)
field("flags.error", "bool", "Error", 32, nil, 0x20)
field("error", "uint32", "Error", base.DEC, ERRNOS)

field("direction", "uint8", "Direction", base.DEC, DIRECTIONS)
field("connection", "uint32", "Connection", base.DEC)
field("fds", "uint32", "File descriptors", base.DEC)
field("twin", "bool", "Over the twin socket")
field("request_in", "framenum", "Request in frame", base.NONE, frametype.REQUEST)
field("reply_in", "framenum", "Reply in frame", base.NONE, frametype.RESPONSE)
field("latency", "relative_time", "Latency")

field("argsz", "uint32", "argsz", base.DEC)
field("index", "uint32", "Index", base.DEC)
field("count", "uint64", "Count", base.DEC)
field("offset", "uint64", "Offset", base.HEX)
field("address", "uint64", "Address", base.HEX)
field("length", "uint64", "Size", base.HEX)
field("data", "bytes", "Data")
field("value", "uint64", "Value", base.HEX)
field("region", "uint32", "Region", base.DEC, REGIONS)
field("irq", "uint32", "Interrupt", base.DEC, IRQS)
field("payload", "bytes", "Payload")

field("version.major", "uint16", "Major", base.DEC)
field("version.minor", "uint16", "Minor", base.DEC)
field("version.data", "string", "Version data")
field("version.max_msg_fds", "uint64", "max_msg_fds", base.DEC)
field("version.max_data_xfer_size", "uint64", "max_data_xfer_size", base.DEC)
field("version.max_dma_maps", "uint64", "max_dma_maps", base.DEC)
field("version.pgsizes", "uint64", "pgsizes", base.HEX)
field("version.write_multiple", "bool", "write_multiple")
field("version.twin_socket", "bool", "twin_socket.supported")
field("version.twin_socket_fd", "uint64", "twin_socket.fd_index", base.DEC)
field("version.vm_interrupt", "bool", "vm_interrupt")
field("version.migration.pgsize", "uint64", "migration.pgsize", base.DEC)
field("version.migration.max_bitmap_size", "uint64", "migration.max_bitmap_size", base.DEC)

field("dma_map.flags", "uint32", "Flags", base.HEX)
field("dma_map.readable", "bool", "Readable", 32, nil, 0x1)
field("dma_map.writeable", "bool", "Writeable", 32, nil, 0x2)
field("dma_unmap.flags", "uint32", "Flags", base.HEX)
field("dma_unmap.dirty_bitmap", "bool", "Get dirty bitmap", 32, nil, 0x1)
field("dma_unmap.all", "bool", "All", 32, nil, 0x2)
field("dma_unmap.all_rust", "bool", "All (rust vfio-user)", 32, nil, 0x4)

field("device.flags", "uint32", "Flags", base.HEX)
field("device.reset", "bool", "Reset is supported", 32, nil, 0x1)
field("device.pci", "bool", "PCI device", 32, nil, 0x2)
field("device.num_regions", "uint32", "Regions", base.DEC)
field("device.num_irqs", "uint32", "Interrupt types", base.DEC)

field("region_info.flags", "uint32", "Flags", base.HEX)
field("region_info.read", "bool", "Read", 32, nil, 0x1)
field("region_info.write", "bool", "Write", 32, nil, 0x2)
field("region_info.mmap", "bool", "Mmap", 32, nil, 0x4)
field("region_info.caps", "bool", "Capabilities", 32, nil, 0x8)
field("region_info.cap_offset", "uint32", "Capability offset", base.DEC)
field("region_info.cap.id", "uint16", "Capability", base.DEC, REGION_CAPS)
field("region_info.cap.version", "uint16", "Version", base.DEC)
field("region_info.cap.next", "uint32", "Next", base.DEC)
field("region_info.sparse.nr_areas", "uint32", "Areas", base.DEC)
field("region_info.sparse.offset", "uint64", "Area's offset", base.HEX)
field("region_info.sparse.size", "uint64", "Area's size", base.HEX)
field("region_info.type", "uint32", "Type", base.HEX)
field("region_info.subtype", "uint32", "Subtype", base.HEX)

field("io_fds.flags", "uint32", "Flags", base.HEX)
field("io_fds.fd_index", "uint32", "fd index", base.DEC)
field("io_fds.type", "uint32", "Type", base.DEC, IO_FD_TYPES)
field("io_fds.sub_flags", "uint32", "Flags", base.HEX)
field("io_fds.datamatch", "bool", "Datamatch", 32, nil, 0x1)
field("io_fds.pio", "bool", "PIO", 32, nil, 0x2)
field("io_fds.ccw", "bool", "Virtio CCW notify", 32, nil, 0x8)
field("io_fds.region_pio", "bool", "PIO", 32, nil, 0x1)
field("io_fds.posted", "bool", "Posted writes", 32, nil, 0x2)
field("io_fds.shadow_fd_index", "uint32", "fd index of the shadow memory", base.DEC)
field("io_fds.shadow_offset", "uint64", "Offset in the shadow memory", base.HEX)
field("io_fds.match", "uint64", "Datamatch", base.HEX)
field("io_fds.user_data", "uint64", "User data", base.HEX)

field("irq_info.flags", "uint32", "Flags", base.HEX)
field("irq_info.eventfd", "bool", "Eventfd", 32, nil, 0x1)
field("irq_info.maskable", "bool", "Maskable", 32, nil, 0x2)
field("irq_info.automasked", "bool", "Automasked", 32, nil, 0x4)
field("irq_info.noresize", "bool", "Noresize", 32, nil, 0x8)

field("set_irqs.flags", "uint32", "Flags", base.HEX)
field("set_irqs.data_none", "bool", "Data: none", 32, nil, 0x1)
field("set_irqs.data_bool", "bool", "Data: bool", 32, nil, 0x2)
field("set_irqs.data_eventfd", "bool", "Data: eventfd", 32, nil, 0x4)
field("set_irqs.mask", "bool", "Action: mask", 32, nil, 0x8)
field("set_irqs.unmask", "bool", "Action: unmask", 32, nil, 0x10)
field("set_irqs.trigger", "bool", "Action: trigger", 32, nil, 0x20)
field("set_irqs.start", "uint32", "Start", base.DEC)
field("set_irqs.bools", "bytes", "Booleans")

field("vm_interrupt.subindex", "uint32", "Subindex", base.DEC)

field("feature.flags", "uint32", "Flags", base.HEX)
field("feature.index", "uint32", "Feature", base.DEC, FEATURES, 0xffff)
field("feature.get", "bool", "Get", 32, nil, 0x10000)
field("feature.set", "bool", "Set", 32, nil, 0x20000)
field("feature.probe", "bool", "Probe", 32, nil, 0x40000)
field("migration.flags", "uint64", "Migration flags", base.HEX)
field("migration.stop_copy", "bool", "Stop-copy", 64, nil, 0x1)
field("migration.p2p", "bool", "P2P", 64, nil, 0x2)
field("migration.pre_copy", "bool", "Pre-copy", 64, nil, 0x4)
field("migration.state", "uint32", "Device state", base.DEC, STATES)
field("migration.data_fd", "int32", "data_fd", base.DEC)
field("logging.page_size", "uint64", "Page size", base.DEC)
field("logging.num_ranges", "uint32", "Ranges", base.DEC)
field("logging.iova", "uint64", "IOVA", base.HEX)
field("logging.length", "uint64", "Length", base.HEX)
field("logging.bitmap", "bytes", "Bitmap")
field("mig_data.size", "uint32", "Size", base.DEC)

-- What deserves attention

local x = proto.experts

x.malformed = ProtoExpert.new("vfio_user.malformed", "Malformed message",
    expert.group.MALFORMED, expert.severity.ERROR)
x.excess = ProtoExpert.new("vfio_user.excess", "Bytes behind the message's end",
    expert.group.PROTOCOL, expert.severity.WARN)
x.cut = ProtoExpert.new("vfio_user.cut", "The capture holds only the begin of this message",
    expert.group.UNDECODED, expert.severity.CHAT)
x.unknown = ProtoExpert.new("vfio_user.unknown", "Unknown command",
    expert.group.UNDECODED, expert.severity.WARN)
x.failed = ProtoExpert.new("vfio_user.failed", "The command failed",
    expert.group.RESPONSE_CODE, expert.severity.NOTE)
x.no_request = ProtoExpert.new("vfio_user.no_request", "No request for this reply was captured",
    expert.group.SEQUENCE, expert.severity.NOTE)

-- What Wireshark knows of the packet; fields that an older one lacks are nil. They have values only
-- while Wireshark makes the packet's tree: not when it reads a file for the first of two times. Then
-- the command tells the direction, and connections are taken for one.

local function extractor(name)
    local ok, got = pcall(Field.new, name)
    return ok and got or nil
end

local packet_direction = extractor("frame.packet_flags_direction")
local packet_queue = extractor("frame.interface_queue")
local packet_comment = extractor("frame.comment")

-- Requests that wait for their reply, and what belongs together by frame number.
local waiting, request_of, reply_of

function proto.init()
    waiting, request_of, reply_of = {}, {}, {}
end

-- A cursor over a message: what the capture does not have is "cut", what the message itself lacks is
-- "short". After either, nothing more is added.

local Cursor = {}
Cursor.__index = Cursor

local function cursor(tvb, at, tree, little)
    return setmetatable({ tvb = tvb, at = at, tree = tree, little = little }, Cursor)
end

-- Bytes of the message that are left, captured or not.
function Cursor:left()
    return self.tvb:reported_len() - self.at
end

function Cursor:done()
    return self.cut or self.short or self:left() <= 0
end

-- The next n bytes, or nil.
function Cursor:take(n)
    if self.cut or self.short then
        return nil
    end
    if n > self:left() then
        self.short = true
        return nil
    end
    if self.at + n > self.tvb:len() then
        self.cut = true
        return nil
    end
    self.at = self.at + n
    return self.tvb(self.at - n, n)
end

function Cursor:add(tree, name, range)
    if self.little then
        return tree:add_le(f[name], range)
    end
    return tree:add(f[name], range)
end

-- A number of n bytes as a field: returns it, UInt64 for 8 bytes, or nil.
function Cursor:number(name, n, tree)
    local range = self:take(n)
    if range == nil then
        return nil
    end
    self:add(tree or self.tree, name, range)
    if n == 8 then
        return self.little and range:le_uint64() or range:uint64()
    end
    return self.little and range:le_uint() or range:uint()
end

-- Flags: a field with its bits below it. Returns the number.
function Cursor:bits(name, n, bits)
    local range = self:take(n)
    if range == nil then
        return nil
    end
    local tree = self:add(self.tree, name, range)
    for _, bit in ipairs(bits) do
        self:add(tree, bit, range)
    end
    if n == 8 then
        return self.little and range:le_uint64() or range:uint64()
    end
    return self.little and range:le_uint() or range:uint()
end

-- All that is left, or as much of it as was captured, as bytes; up to n.
function Cursor:bytes(name, n)
    local want = self:left()
    if n ~= nil and n < want then
        want = n
    end
    local have = math.min(want, self.tvb:len() - self.at)
    if self.short or self.cut or want <= 0 then
        return nil
    end
    local range
    if have > 0 then
        range = self.tvb(self.at, have)
        self.tree:add(f[name], range)
    end
    self.at = self.at + have
    self.cut = have < want
    return range
end

-- Payloads: a function each, given the cursor, whether it is a reply, and a table for the line in the
-- packet list.

local function hex(number)
    return number ~= nil and "0x" .. number:tohex():gsub("^0+(.)", "%1"):lower() or "?"
end

local function name_of(names, number)
    return number ~= nil and (names[number] or tostring(number)) or "?"
end

local function say(info, text, ...)
    info[#info + 1] = string.format(text, ...)
end

-- Data of count bytes; short ones are a value too.
local function data(c, count)
    if count == nil then
        return
    end
    if count > UInt64(c:left() < 0 and 0 or c:left()) then
        c:bytes("data")
        c.short = not c.cut
        return
    end
    local range = c:bytes("data", count:tonumber())
    if range ~= nil and not c.cut and range:len() <= 8 then
        local text = ""
        for i = 0, range:len() - 1 do
            local byte = string.format("%02x", range(i, 1):uint())
            text = c.little and byte .. text or text .. byte
        end
        c.tree:add(f["value"], range, UInt64.fromhex(text)):set_generated()
        return "= 0x" .. text
    end
end

local function u64(number)
    return number ~= nil and UInt64(number) or nil
end

local VERSION_NUMBERS = {
    "max_msg_fds", "max_data_xfer_size", "max_dma_maps", "pgsizes",
}

local function version_capabilities(c, json, range)
    local tree = c.tree
    local migration = json:match('"migration"%s*:%s*(%b{})')
    local twin = json:match('"twin_socket"%s*:%s*(%b{})')
    for _, key in ipairs(VERSION_NUMBERS) do
        local value = json:match('"' .. key .. '"%s*:%s*(%d+)')
        if value ~= nil then
            tree:add(f["version." .. key], range, UInt64(value)):set_generated()
        end
    end
    for _, key in ipairs({ "write_multiple", "vm_interrupt" }) do
        local value = json:match('"' .. key .. '"%s*:%s*(%a+)')
        if value ~= nil then
            tree:add(f["version." .. key], range, value == "true"):set_generated()
        end
    end
    if twin ~= nil then
        local index = twin:match('"fd_index"%s*:%s*(%d+)')
        tree:add(f["version.twin_socket"], range,
            twin:match('"supported"%s*:%s*(%a+)') == "true"):set_generated()
        if index ~= nil then
            tree:add(f["version.twin_socket_fd"], range, UInt64(index)):set_generated()
        end
    end
    for _, key in ipairs({ "pgsize", "max_bitmap_size" }) do
        local value = migration ~= nil and migration:match('"' .. key .. '"%s*:%s*(%d+)')
        if value then
            tree:add(f["version.migration." .. key], range, UInt64(value)):set_generated()
        end
    end
end

local function version(c, reply, info)
    local major = c:number("version.major", 2)
    local minor = c:number("version.minor", 2)
    say(info, "%s.%s", tostring(major or "?"), tostring(minor or "?"))
    if c:done() then
        return
    end
    local captured = c.tvb:len() - c.at
    local whole = captured >= c:left()
    local range = captured > 0 and c.tvb(c.at, captured) or nil
    if range ~= nil then
        local json = range:string()
        c.tree:add(f["version.data"], range)
        version_capabilities(c, json, range)
    end
    c.at = c.at + captured
    c.cut = not whole
end

local function dma_map(c, reply, info)
    if reply then
        return
    end
    c:number("argsz", 4)
    c:bits("dma_map.flags", 4, { "dma_map.readable", "dma_map.writeable" })
    local offset = c:number("offset", 8)
    local address = c:number("address", 8)
    local size = c:number("length", 8)
    say(info, "%s, size %s, file offset %s", hex(address), hex(size), hex(offset))
end

local function dma_unmap(c, reply, info)
    c:number("argsz", 4)
    c:bits("dma_unmap.flags", 4,
        { "dma_unmap.dirty_bitmap", "dma_unmap.all", "dma_unmap.all_rust" })
    local address = c:number("address", 8)
    local size = c:number("length", 8)
    say(info, "%s, size %s", hex(address), hex(size))
    c:bytes("payload") -- a dirty bitmap, of clients that ask for it
end

local function get_info(c, reply, info)
    c:number("argsz", 4)
    -- Clients may leave out what is zero.
    if not reply and c:left() == 0 then
        return
    end
    c:bits("device.flags", 4, { "device.reset", "device.pci" })
    local regions = c:number("device.num_regions", 4)
    local irqs = c:number("device.num_irqs", 4)
    if reply then
        say(info, "%s regions, %s interrupt types", tostring(regions), tostring(irqs))
    end
    -- A client may send the kernel's longer structure; the reply has none of that.
    if not reply then
        c:bytes("payload")
    end
end

local function sparse_mmap(c)
    local n = c:number("region_info.sparse.nr_areas", 4)
    c:take(4)
    for _ = 1, n or 0 do
        if c:number("region_info.sparse.offset", 8) == nil then
            break
        end
        c:number("region_info.sparse.size", 8)
    end
end

-- The list of capabilities; offsets count from the payload's begin. A loop ends it.
local function region_caps(c, begin, offset)
    local outer = c.tree
    local seen = {}
    while offset ~= nil and offset ~= 0 and not seen[offset] and not (c.cut or c.short) do
        seen[offset] = true
        c.at = begin + offset
        local head = c:take(8)
        if head == nil then
            break
        end
        c.at = begin + offset
        c.tree = outer:add(proto, head, "Capability")
        local id = c:number("region_info.cap.id", 2)
        c:number("region_info.cap.version", 2)
        offset = c:number("region_info.cap.next", 4)
        c.tree:append_text(": " .. name_of(REGION_CAPS, id))
        if id == 1 then
            sparse_mmap(c)
        elseif id == 2 then
            c:number("region_info.type", 4)
            c:number("region_info.subtype", 4)
        end
    end
    c.tree = outer
    c.at = math.max(c.at, math.min(c.tvb:len(), c.tvb:reported_len()))
end

local function region_info(c, reply, info)
    local begin = c.at
    c:number("argsz", 4)
    c:bits("region_info.flags", 4, {
        "region_info.read", "region_info.write", "region_info.mmap", "region_info.caps",
    })
    local region = c:number("region", 4)
    local caps = c:number("region_info.cap_offset", 4)
    local size = c:number("length", 8)
    c:number("offset", 8)
    say(info, "%s", name_of(REGIONS, region))
    if reply then
        say(info, "size %s", hex(size))
        -- An answer cut at argsz names capabilities that it does not have.
        if caps ~= nil and caps ~= 0 and c:left() > 0 then
            region_caps(c, begin, caps)
        end
    end
end

local IOEVENTFD_BITS = { "io_fds.datamatch", "io_fds.pio", "io_fds.ccw" }
local IOREGIONFD_BITS = { "io_fds.region_pio", "io_fds.posted" }

-- The specification has 40 bytes; servers and clients that know shadow memory send 48, with where in
-- it the value is.
local function sub_region(c, size)
    local range = c:take(size)
    if range == nil then
        return
    end
    local outer = c.tree
    c.at = c.at - size
    c.tree = outer:add(proto, range, "Sub-region")
    c:number("offset", 8)
    c:number("length", 8)
    c:number("io_fds.fd_index", 4)
    local kind = c:number("io_fds.type", 4)
    c:bits("io_fds.sub_flags", 4, kind == 1 and IOREGIONFD_BITS or IOEVENTFD_BITS)
    if kind == 2 and size == 48 then
        c:number("io_fds.shadow_fd_index", 4)
        c:number("io_fds.shadow_offset", 8)
    else
        c:take(size - 36)
    end
    c:number(kind == 1 and "io_fds.user_data" or "io_fds.match", 8)
    c.tree:append_text(": " .. name_of(IO_FD_TYPES, kind))
    c.tree = outer
end

local function region_io_fds(c, reply, info)
    local argsz = c:number("argsz", 4)
    c:number("io_fds.flags", 4)
    local region = c:number("region", 4)
    local range = c:take(4)
    local count = range ~= nil and (c.little and range:le_uint() or range:uint()) or 0
    if range ~= nil then
        c.tree:add(f["count"], range, UInt64(count))
    end
    say(info, "%s", name_of(REGIONS, region))
    if reply then
        say(info, "%d sub-regions", count)
        -- The head alone says how large the answer would be.
        if count > 0 and not c.cut and c:left() == 0 then
            say(info, "needs %s bytes", tostring(argsz))
        end
        local size = c:left() == count * 40 and 40 or 48
        for _ = 1, count do
            if c:done() then
                break
            end
            sub_region(c, size)
        end
    end
end

local function irq_info(c, reply, info)
    c:number("argsz", 4)
    c:bits("irq_info.flags", 4, {
        "irq_info.eventfd", "irq_info.maskable", "irq_info.automasked", "irq_info.noresize",
    })
    local irq = c:number("irq", 4)
    local range = c:take(4)
    say(info, "%s", name_of(IRQS, irq))
    if range ~= nil then
        local count = c.little and range:le_uint() or range:uint()
        c.tree:add(f["count"], range, UInt64(count))
        if reply then
            say(info, "%d vectors", count)
        end
    end
end

local IRQ_WORDS = {
    { 0x1, "none" }, { 0x2, "bool" }, { 0x4, "eventfd" }, { 0x8, "mask" }, { 0x10, "unmask" },
    { 0x20, "trigger" },
}

local function set_irqs(c, reply, info)
    if reply then
        return
    end
    c:number("argsz", 4)
    local flags = c:bits("set_irqs.flags", 4, {
        "set_irqs.data_none", "set_irqs.data_bool", "set_irqs.data_eventfd", "set_irqs.mask",
        "set_irqs.unmask", "set_irqs.trigger",
    })
    local irq = c:number("irq", 4)
    local start = c:number("set_irqs.start", 4)
    local range = c:take(4)
    if flags == nil or range == nil then
        return
    end
    local count = c.little and range:le_uint() or range:uint()
    local words = {}
    for _, word in ipairs(IRQ_WORDS) do
        if flags % (2 * word[1]) >= word[1] then
            words[#words + 1] = word[2]
        end
    end
    c.tree:add(f["count"], range, UInt64(count))
    say(info, "%s %s, start %d, count %d", name_of(IRQS, irq), table.concat(words, "+"), start,
        count)
    if flags % 4 >= 2 then
        c:bytes("set_irqs.bools", count)
    end
end

local function vm_interrupt(c, reply, info)
    if reply then
        return
    end
    local irq = c:number("irq", 4)
    local subindex = c:number("vm_interrupt.subindex", 4)
    say(info, "%s %s", name_of(IRQS, irq), tostring(subindex or "?"))
end

local function region_access(has_data)
    return function(c, reply, info)
        local offset = c:number("offset", 8)
        local region = c:number("region", 4)
        local range = c:take(4)
        local count = range ~= nil and UInt64(c.little and range:le_uint() or range:uint()) or nil
        if range ~= nil then
            c.tree:add(f["count"], range, count)
        end
        say(info, "%s %s, %s bytes", name_of(REGIONS, region), hex(offset),
            tostring(count or "?"))
        if reply == (has_data == "reply") then
            local value = data(c, count)
            if value ~= nil then
                say(info, "%s", value)
            end
        end
    end
end

-- The specification's shape has a 64-bit count. QEMU 10 has a 32-bit count and its data right behind
-- that, 4 bytes of padding at the end, and no payload in a DMA_WRITE's reply; both are told apart by
-- what the count would be.
local function dma_access(has_data)
    return function(c, reply, info)
        if reply and has_data == "request" and c:left() == 0 then
            return
        end
        local carries = reply == (has_data == "reply")
        local address = c:number("address", 8)
        local wide = c:left() >= 8 and c.at + 8 <= c.tvb:len() and c.tvb(c.at, 8) or nil
        local count = wide ~= nil and (c.little and wide:le_uint64() or wide:uint64()) or nil
        local behind = UInt64(c:left() < 8 and 0 or c:left() - 8)
        if count ~= nil and (not carries or count == behind) then
            count = c:number("count", 8)
        else
            local range = c:take(4)
            count = range ~= nil and UInt64(c.little and range:le_uint() or range:uint()) or nil
            if range ~= nil then
                c.tree:add(f["count"], range, count)
            end
        end
        say(info, "%s, %s bytes", hex(address), tostring(count or "?"))
        if carries then
            local value = data(c, count)
            if value ~= nil then
                say(info, "%s", value)
            end
            if c:left() == 4 then
                c:take(4)
            end
        end
    end
end

local function write_multi(c, reply, info)
    local count = c:number("count", 8)
    say(info, "%s writes", tostring(count or "?"))
    if reply then
        return
    end
    local outer = c.tree
    local done = 0
    while count ~= nil and UInt64(done) < count and not c:done() do
        local range = c:take(24)
        if range == nil then
            break
        end
        c.at = c.at - 24
        c.tree = outer:add(proto, range, "Write " .. done)
        local line = {}
        local offset = c:number("offset", 8)
        local region = c:number("region", 4)
        local size = c:take(4)
        local n = c.little and size:le_uint() or size:uint()
        c.tree:add(f["count"], size, UInt64(n))
        local at = c.at
        say(line, "%s %s, %d bytes %s", name_of(REGIONS, region), hex(offset), n,
            data(c, UInt64(math.min(n, 8))) or "")
        c.at = at + 8
        c.tree:append_text(": " .. table.concat(line))
        done = done + 1
    end
    c.tree = outer
    if count ~= nil and UInt64(done) < count and not c.cut then
        c.short = true
    end
end

local function logging_start(c)
    c:number("logging.page_size", 8)
    local n = c:number("logging.num_ranges", 4)
    c:take(4)
    for _ = 1, n or 0 do
        if c:number("logging.iova", 8) == nil then
            break
        end
        c:number("logging.length", 8)
    end
end

local function logging_report(c, reply)
    c:number("logging.iova", 8)
    c:number("logging.length", 8)
    c:number("logging.page_size", 8)
    if reply then
        c:bytes("logging.bitmap")
    end
end

local FEATURE_DATA = {
    [1] = function(c)
        c:bits("migration.flags", 8,
            { "migration.stop_copy", "migration.p2p", "migration.pre_copy" })
    end,
    [2] = function(c, reply, info)
        local state = c:number("migration.state", 4)
        c:number("migration.data_fd", 4)
        say(info, "%s", name_of(STATES, state))
    end,
    [6] = logging_start,
    [7] = function(c) c:bytes("payload") end,
    [8] = logging_report,
}

local function feature(c, reply, info)
    c:number("argsz", 4)
    local flags = c:bits("feature.flags", 4,
        { "feature.index", "feature.get", "feature.set", "feature.probe" })
    if flags == nil then
        return
    end
    local index = flags % 0x10000
    local words = {}
    for i, word in ipairs({ "GET", "SET", "PROBE" }) do
        local bit = 0x8000 * 2 ^ i
        if flags % (2 * bit) >= bit then
            words[#words + 1] = word
        end
    end
    say(info, "%s %s", table.concat(words, "+"), name_of(FEATURES, index))
    if c:left() > 0 then
        local inner = FEATURE_DATA[index]
        if inner ~= nil then
            inner(c, reply, info)
        else
            c:bytes("payload")
        end
    end
end

local function mig_data(has_data)
    return function(c, reply, info)
        c:number("argsz", 4)
        local size = c:number("mig_data.size", 4)
        say(info, "%s bytes", tostring(size or "?"))
        if reply == (has_data == "reply") then
            data(c, u64(size))
        end
    end
end

local PAYLOADS = {
    [1] = version, [2] = dma_map, [3] = dma_unmap, [4] = get_info, [5] = region_info,
    [6] = region_io_fds, [7] = irq_info, [8] = set_irqs, [9] = region_access("reply"),
    [10] = region_access("request"), [11] = dma_access("reply"), [12] = dma_access("request"),
    [13] = function() end, [15] = write_multi, [16] = feature, [17] = mig_data("reply"),
    [18] = mig_data("request"), [0x4000] = vm_interrupt,
}

-- Requests and replies

-- Ids belong to the sender of the request, and may be in use more than once: the oldest is answered
-- first.
local function pair(number, message, time)
    local asked_by = message.reply and 3 - message.direction or message.direction
    local key = string.format("%d/%d/%d/%d", message.connection, asked_by, message.id,
        message.command)
    if message.reply then
        local queue = waiting[key]
        local request = queue ~= nil and table.remove(queue, 1) or nil
        if request ~= nil then
            request_of[number] = request
            reply_of[request.number] = { number = number, time = time }
        end
    elseif not message.no_reply then
        waiting[key] = waiting[key] or {}
        table.insert(waiting[key], { number = number, time = time })
    end
end

-- A connection begins: what an earlier one of that number has left is no more.
local function forget(connection)
    local prefix = connection .. "/"
    for key in pairs(waiting) do
        if key:sub(1, #prefix) == prefix then
            waiting[key] = nil
        end
    end
end

local function value_of(extract)
    local info = extract ~= nil and extract() or nil
    return info ~= nil and info.value or nil
end

-- How many fds the comment tells of, or nil, and whether it is of a message on the twin socket.
local function comment_of()
    local comment = value_of(packet_comment) or ""
    return comment:match("(%d+) fds?$"), comment:match("^twin socket") ~= nil
end

local function direction_of(command, reply)
    local direction = value_of(packet_direction)
    if direction == 1 or direction == 2 then
        return direction
    end
    -- Not told: the command's own tells.
    return (SENT_BY_SERVER[command] or false) ~= reply and 2 or 1
end

-- The message

local function show_pairs(tree, message, number, time)
    local other
    if message.reply then
        other = request_of[number]
        if other == nil then
            tree:add_proto_expert_info(x.no_request)
            return
        end
        tree:add(f["request_in"], other.number):set_generated()
        local ns = math.floor((time - other.time) * 1e9 + 0.5)
        tree:add(f["latency"], NSTime.new(math.floor(ns / 1e9), ns % 1e9)):set_generated()
    else
        other = reply_of[number]
        if other ~= nil then
            tree:add(f["reply_in"], other.number):set_generated()
        end
    end
end

local function show_context(tree, message, tvb)
    tree:add(f["direction"], tvb(0, 0), message.direction):set_generated()
    if message.connection > 0 then
        tree:add(f["connection"], tvb(0, 0), message.connection):set_generated()
    end
    if message.fds ~= nil then
        tree:add(f["fds"], tvb(0, 0), tonumber(message.fds)):set_generated()
    end
    if message.twin then
        tree:add(f["twin"], tvb(0, 0), true):set_generated()
    end
end

-- The 16 bytes of the header. The byte order is that of the host where it was captured: the size
-- tells.
local function header(tvb, tree)
    local length = tvb:reported_len()
    local little = tvb(4, 4):le_uint() == length or tvb(4, 4):uint() ~= length
    local c = cursor(tvb, 0, tree, little)
    local message = { little = little }
    message.id = c:number("id", 2)
    message.command = c:number("command", 2)
    message.size = c:number("size", 4)
    message.flags = c:bits("flags", 4, { "flags.type", "flags.no_reply", "flags.error" })
    message.error = c:number("error", 4)
    message.reply = message.flags % 16 == 1
    message.no_reply = message.flags % 0x20 >= 0x10
    message.failed = message.flags % 0x40 >= 0x20
    return message, c
end

local function payload(c, message, tree, info)
    local parse = PAYLOADS[message.command]
    if parse == nil then
        tree:add_proto_expert_info(x.unknown)
        c:bytes("payload")
    elseif not (message.reply and message.failed) then
        if c:left() > 0 or not message.reply then
            parse(c, message.reply, info)
        end
    end
    if c.cut then
        tree:add_proto_expert_info(x.cut)
    elseif c.short then
        tree:add_proto_expert_info(x.malformed, "Malformed message: it is too short")
    elseif c:left() > 0 then
        c:bytes("payload")
        tree:add_proto_expert_info(x.excess)
    end
end

local function summary(message, info)
    local name = COMMANDS[message.command] or ("command " .. message.command)
    local text = name .. (message.reply and " reply" or "") .. ", id " .. message.id
    if message.no_reply then
        text = text .. ", no reply"
    end
    if message.failed then
        text = text .. ", " .. name_of(ERRNOS, message.error)
    end
    if #info > 0 then
        text = text .. ": " .. table.concat(info, ", ")
    end
    if message.fds ~= nil then
        text = text .. string.format(" [%s fd%s]", message.fds, message.fds == "1" and "" or "s")
    end
    return text .. (message.twin and " [twin]" or "")
end

function proto.dissector(tvb, pinfo, root)
    local tree = root:add(proto, tvb())
    pinfo.cols.protocol = "vfio-user"
    if tvb:len() < 16 then
        if tvb:reported_len() < 16 then
            tree:add_proto_expert_info(x.malformed, "Malformed message: no header")
        else
            tree:add_proto_expert_info(x.cut)
        end
        return tvb:len()
    end

    local message, c = header(tvb, tree)
    local info = {}
    message.direction = direction_of(message.command, message.reply)
    message.connection = value_of(packet_queue) or 0
    message.fds, message.twin = comment_of()
    pinfo.cols.src = message.direction == 1 and "client" or "server"
    pinfo.cols.dst = message.direction == 1 and "server" or "client"
    show_context(tree, message, tvb)

    if message.size ~= tvb:reported_len() or message.flags % 16 > 1 then
        tree:add_proto_expert_info(x.malformed, message.flags % 16 > 1
            and "Malformed message: neither command nor reply"
            or "Malformed message: its size is not that of the packet")
        c:bytes("payload")
    else
        if not pinfo.visited then
            if message.command == 1 and not message.reply and message.connection > 0 then
                forget(message.connection)
            end
            pair(pinfo.number, message, pinfo.rel_ts)
        end
        show_pairs(tree, message, pinfo.number, pinfo.rel_ts)
        payload(c, message, tree, info)
        if message.failed then
            tree:add_proto_expert_info(x.failed,
                "The command failed: " .. name_of(ERRNOS, message.error))
        end
    end

    local text = summary(message, info)
    pinfo.cols.info = text
    tree:append_text(", " .. text)
    return tvb:len()
end

DissectorTable.get("wtap_encap"):add((wtap_encaps or wtap).USER0, proto)
