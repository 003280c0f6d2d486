-- Endpoints by a hash of what a request says, as `ingresskit.proxy.upstreams.hashing` has it: each endpoint wants
-- a request by a weight of its own, and the one that wants it most gets it. So few requests move when one comes.

local bit = require "bit"
local addresses = require "ingresskit.addresses"
local selections = require "ingresskit.selections"

local band, bxor, rshift, lshift, tobit = bit.band, bit.bxor, bit.rshift, bit.lshift, bit.tobit
local crc32, random = ngx.crc32_long, math.random
local sub, concat = string.sub, table.concat

local M = {}

-- The product of two numbers of 32 bits, less what is above 32 bits; no step of it needs more than 53.
local function times(a, b)
    return tobit(band(a, 0xffff) * b + lshift(band(rshift(a, 16) * b, 0xffff), 16))
end

-- Mixes bits, so that numbers that differ little become numbers that have nothing in common. A cyclic redundancy
-- check alone would not do: it is linear, and some endpoints would never be the highest.
-- Source: MurmurHash3, fmix32.
local function mixed(number)
    number = times(bxor(number, rshift(number, 16)), 0x85ebca6b)
    number = times(bxor(number, rshift(number, 13)), 0xc2b2ae35)
    return bxor(number, rshift(number, 16)) % 4294967296
end

-- 32 bits that stand for an endpoint.
function M.seed(name)
    return mixed(crc32(name))
end

local parts = {}

function parts.client(_, context)
    return addresses.show(context.client)
end

function parts.host(_, context)
    return context.host
end

function parts.uri(_, _, var)
    return var.request_uri
end

function parts.path(_, _, _, path)
    return path
end

function parts.query(name, context)
    if name == "" then
        return sub(context.query, 2)
    end
    return selections.value("query", name, context)
end

function parts.method(_, context)
    return selections.value("method", "", context)
end

function parts.scheme(_, context, var)
    return (context.https or var.scheme == "https") and "https" or "http"
end

function parts.text(name)
    return name
end

for _, source in ipairs { "header", "cookie" } do
    parts[source] = function(name, context)
        return selections.value(source, name, context)
    end
end

-- The hash of a request, of which *wanted* are the parts; *path* is in normal form.
function M.of(wanted, context, var, path)
    local found = {}
    for index, part in ipairs(wanted) do
        found[index] = parts[part[1]](part[2], context, var, path) or ""
    end
    return crc32(concat(found, "\0"))
end

local function weight(endpoint, hashed)
    return mixed(bxor(hashed, endpoint.seed))
end

local function highest(endpoints, hashed)
    local best, most
    for _, endpoint in ipairs(endpoints) do
        local own = weight(endpoint, hashed)
        if not best or own > most or (own == most and endpoint.name > best.name) then
            best, most = endpoint, own
        end
    end
    return best
end

M.highest = highest

-- The endpoint for a hash among *well*, which are some of all endpoints of *backend*.
function M.choose(backend, well, hashed)
    local size = backend.subset or 1
    if size == 1 then
        return highest(well, hashed)
    end
    -- The group first: an endpoint that fails is no reason for its requests to go to all others.
    local group, of_well, usable = {}, {}, {}
    for index, endpoint in ipairs(backend.ready) do
        group[index] = endpoint
    end
    table.sort(group, function(one, other)
        local first, second = weight(one, hashed), weight(other, hashed)
        return first > second or (first == second and one.name > other.name)
    end)
    for _, endpoint in ipairs(well) do
        of_well[endpoint] = true
    end
    for index = 1, math.min(size, #group) do
        if of_well[group[index]] then
            usable[#usable + 1] = group[index]
        end
    end
    usable = #usable > 0 and usable or well
    return usable[random(#usable)]
end

return M
