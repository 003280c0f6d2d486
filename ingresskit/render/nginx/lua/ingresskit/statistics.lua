-- Counts of what was served, in a dictionary all workers share.
--
-- A worker counts in tables of its own and adds them to the dictionary twice a second: an entry of
-- the dictionary has a lock, and a request has no time for a dozen of them.

local json = require "ingresskit.json"

local dict = ngx.shared.ingresskit_counts

local floor, match, pairs, tonumber = math.floor, string.match, pairs, tonumber

local M = {}

-- As `ingresskit.proxy.DURATION_BOUNDS`, in seconds.
local BOUNDS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 }
local INTERVAL = 0.5

local counts = {}
local dirty = false

local function add(name, amount)
    counts[name] = (counts[name] or 0) + amount
end

local function flush()
    if not dirty then
        return
    end
    local mine = counts
    counts, dirty = {}, false
    for name, amount in pairs(mine) do
        if amount ~= 0 then
            dict:incr(name, amount, 0)
        end
    end
end

local names = {}
local function name_of(prefix, key)
    local group = names[prefix]
    if not group then
        group = {}
        names[prefix] = group
    end
    local name = group[key]
    if not name then
        name = prefix .. key
        group[key] = name
    end
    return name
end

-- A request went to a backend.
function M.forwarded(backend)
    dirty = true
    add(name_of("bq:", backend.name), 1)
    add(name_of("ba:", backend.name), 1)
end

-- An attempt to get a response of an endpoint failed, or its response broke off, for *reason*.
function M.failed(reason)
    dirty = true
    add(name_of("f:", reason), 1)
end

local function bucket_of(seconds)
    local bucket = 1
    while BOUNDS[bucket] and seconds > BOUNDS[bucket] do
        bucket = bucket + 1
    end
    return bucket
end

-- A request is over. *context* is nil when it never was routed; *reason* says what was wrong, or is nil;
-- *headers* is nginx's text of how long each endpoint took to begin its response, or nil.
function M.finished(context, status, seconds, reason, headers)
    dirty = true
    local digit = status == 0 and 4 or floor(status / 100)
    local host = context and context.rule_host or ""
    add(name_of("r" .. digit .. ":", host), 1)
    add(name_of("s:", status == 0 and 499 or status), 1)
    if reason then
        add(name_of("t:", reason), 1)
    end
    add(name_of("d:", bucket_of(seconds)), 1)
    add("ds", seconds)
    -- The last one, whose response the client got: "-, 0.004".
    local first_byte = headers and tonumber(match(headers, "[%d.]+$"))
    if first_byte then
        add(name_of("h:", bucket_of(first_byte)), 1)
        add("hs", first_byte)
    end
    local backend = context and context.counted
    if backend then
        add(name_of("ba:", backend.name), -1)
        local attempts = context.attempts or 0
        if attempts > 1 then
            add("retries", attempts - 1)
        end
        if context.failures then
            add(name_of("bf:", backend.name), context.failures)
            add("failed", context.failures)
        end
    end
    if ngx.worker.exiting() then
        flush() -- no timer comes any more
    end
end

-- Bytes of a request that is over.
function M.bytes(received, sent)
    add("received", tonumber(received) or 0)
    add("sent", tonumber(sent) or 0)
end

-- Begin to add up, in each worker.
function M.start()
    ngx.timer.every(INTERVAL, flush)
end

-- All counts as JSON.
function M.dump()
    flush()
    local parts = {}
    for _, name in ipairs(dict:get_keys(0)) do
        local value = dict:get(name)
        if value and string.sub(name, 1, 2) ~= "a:" then
            parts[#parts + 1] = json.quote(name) .. ":" .. string.format("%.17g", value)
        end
    end
    return "{" .. table.concat(parts, ",") .. "}"
end

return M
