-- Who the client is, and what endpoints are told about it: as `ingresskit.proxy.message.forwarded` has it.
--
-- What a peer that is not a trusted proxy says is never read here; `ingresskit.router` takes it out.

local addresses = require "ingresskit.addresses"
local settings = require "ingresskit.settings"

local match, gmatch, find, lower, tonumber = string.match, string.gmatch, string.find, string.lower, tonumber
local concat = table.concat

local M = {}

local HOPS = 64

-- Peers come back: their texts are read once. Emptied when full, since an address costs little to read.
local known, count = {}, 0

-- The peer's address as `ingresskit.addresses` has it, and whether it is a trusted proxy.
function M.peer(text)
    local entry = known[text]
    if not entry then
        local address = addresses.read(text)
        entry = { address, address ~= nil and addresses.within(address, settings.trusted) }
        if count > 10000 then
            known, count = {}, 0
        end
        known[text] = entry
        count = count + 1
    end
    return entry[1], entry[2]
end

local function entries(values)
    local found = {}
    for _, value in ipairs(type(values) == "table" and values or { values }) do
        for part in gmatch(value, "[^,]+") do
            local entry = match(part, "^%s*(.-)%s*$")
            if entry ~= "" then
                found[#found + 1] = entry
            end
        end
    end
    return found
end

-- The first element of a list that proxies append to, each for its own peer: what the client itself used.
local function first(values)
    values = type(values) == "table" and values[1] or values or ""
    return match(values, "^%s*([^,]-)%s*,") or match(values, "^%s*(.-)%s*$")
end

-- An entry of X-Forwarded-For: an address, some proxies add the port.
local function read_hop(text)
    local address = addresses.read(text)
    if address then
        return address
    end
    local inner = match(text, "^%[([%x:.]+)%]$") or match(text, "^%[([%x:.]+)%]:%d+$") or match(text, "^([%d.]+):%d+$")
    return inner and addresses.read(inner)
end

-- The node of an element of Forwarded; obfuscated and unknown ones are no address.
local function read_for(element)
    for pair in gmatch(element, "[^;]+") do
        local name, value = match(pair, "^%s*(%a+)%s*=%s*(.-)%s*$")
        if name and lower(name) == "for" then
            return read_hop(match(value, '^"([^"\\]*)"$') or value)
        end
    end
    return nil
end

-- What a trusted peer says of the client. proxied_port is that of a PROXY header, host_port that in Host.
--
-- Returns a table: client (as `ingresskit.addresses`), https, proto, told (whether the peer sent the scheme),
-- port, host (nil: as asked), chain (for X-Forwarded-For) and forwarded (nil: none was sent).
function M.behind_proxy(headers, peer, peer_text, scheme, proxied_port, host_port)
    local chain = entries(headers["x-forwarded-for"])
    local elements = entries(headers["forwarded"])
    local read = #chain > 0 and read_hop or read_for
    local hops = #chain > 0 and chain or elements
    local client, stop = peer, #hops - HOPS + 1
    for index = #hops, stop > 1 and stop or 1, -1 do
        local hop = read(hops[index])
        if not hop then
            break -- what lies beyond an entry that is no address cannot be judged
        end
        client = hop
        if not addresses.within(hop, settings.trusted) then
            break
        end
    end
    local proto = lower(first(headers["x-forwarded-proto"]))
    local told = proto == "http" or proto == "https"
    if not told then
        proto = scheme
    end
    local port = match(first(headers["x-forwarded-port"]), "^%d%d?%d?%d?%d?$")
    port = port and tonumber(port) or 0
    if port == 0 or port > 65535 then
        -- The PROXY header speaks of the connection: where that is of another scheme than the request, an
        -- earlier proxy took the request at a port of its own.
        port = proto == scheme and proxied_port or host_port
        port = port or proto == "https" and settings.public_https or settings.public_http
    end
    local host = first(headers["x-forwarded-host"])
    if host == "" or not find(host, "^%[[%x:.]+%]:?%d*$") and not find(host, "^[%w._-]+:?%d*$") then
        host = nil
    end
    local forwarded
    if #elements > 0 then
        local ours = find(peer_text, ":", 1, true) and '"[' .. peer_text .. ']"' or peer_text
        elements[#elements + 1] = "for=" .. ours .. ";proto=" .. proto
        forwarded = concat(elements, ", ")
    end
    chain[#chain + 1] = peer_text
    return {
        client = client,
        https = proto == "https",
        proto = proto,
        told = told,
        port = port,
        host = host,
        chain = concat(chain, ", "),
        forwarded = forwarded,
    }
end

-- Whether the client used TLS, as far as trusted proxies say.
function M.over_tls(context, var)
    local https = context.https
    if https == nil then
        https = var.scheme == "https"
    end
    return https
end

return M
