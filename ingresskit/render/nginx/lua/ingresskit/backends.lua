-- Which backend, and which of its endpoints, takes a request: as `ingresskit.proxy.upstreams.balance` has it.
--
-- Failures of endpoints are each worker's own; requests under way are counted for all workers, since half of
-- them would lead to the wrong endpoint, but only where somebody asks for that.

local hashing = require "ingresskit.hashing"
local settings = require "ingresskit.settings"
local tables = require "ingresskit.tables"

local counts = ngx.shared.ingresskit_counts

local random, min, exp = math.random, math.min, math.exp
local crc32 = ngx.crc32_long

local M = {}

-- After a failed connection an endpoint is left alone for a while, if there is another one.
local FIRST_BACK_OFF = 2
local LONGEST_BACK_OFF = 10

-- Seconds in which an average of times loses most of what it was.
local DECAY = 10

-- The algorithms that ask how many requests are under way.
local COUNTING = { ["least-connections"] = true, random = true, ewma = true }

-- By "address:port": {failures =, retry_at = of ngx.now()}.
local states = {}
local state_count = 0

local function state_of(name)
    local state = states[name]
    if not state then
        if state_count > 200000 then
            states, state_count = {}, 0
        end
        state = { failures = 0, retry_at = 0 }
        states[name] = state
        state_count = state_count + 1
    end
    return state
end

-- Make the decoded row of a backend ready: endpoints as {host, port, name, state}; a Unix socket has no port.
local function prepared(backend, name)
    if not backend.ready then
        local ready = {}
        for index, endpoint in ipairs(backend.endpoints) do
            local host, port = endpoint[1], endpoint[2]
            local shown = host
            if port then
                host = string.find(host, ":", 1, true) and "[" .. host .. "]" or host
                shown = host .. ":" .. port
            end
            ready[index] = { host = host, port = port, name = shown, state = state_of(shown), seed = hashing.seed(shown) }
        end
        backend.ready = ready
        backend.name = name
        -- Not 0: many workers that start together would all begin with the same endpoint.
        backend.turn = #ready > 0 and random(#ready) or 0
    end
    return backend
end

local function usable(name, generation)
    local backend = tables.get("b", name, generation)
    if backend and #backend.endpoints > 0 then
        return prepared(backend, name)
    end
    return nil
end

M.usable = usable

-- Whether one of the shares has an endpoint.
function M.any(shares, generation)
    for _, share in ipairs(shares) do
        if usable(share[1], generation) then
            return true
        end
    end
    return false
end

-- The backend for a request, by weight among those that have endpoints; nil: none has.
-- *shares* is the list of a target, {name, weight}; its working state is kept in it.
function M.choose(shares, generation, context)
    if #shares == 1 then
        return usable(shares[1][1], generation)
    end
    local held = M.held(shares, generation, context)
    if held then
        return held -- the one whose affinity cookie the client has
    end
    -- Smooth weighted round robin: each gains its weight, the richest is chosen and pays for all.
    local best, total, chosen = nil, 0, nil
    for _, share in ipairs(shares) do
        local backend = usable(share[1], generation)
        if backend then
            share[3] = (share[3] or 0) + share[2]
            total = total + share[2]
            if not best or share[3] > best[3] then
                best, chosen = share, backend
            end
        end
    end
    if best then
        best[3] = best[3] - total
    end
    return chosen
end

-- Two of the endpoints at random; the second is nil where there is one only.
local function two(well)
    local first = random(#well)
    if #well == 1 then
        return well[first]
    end
    local second = random(#well - 1)
    return well[first], well[second < first and second or second + 1]
end

-- How many requests are under way at an endpoint.
local function active(endpoint)
    return counts:get("a:" .. endpoint.name) or 0
end

-- What another request is likely to cost there, as `EndpointState.cost` of the in-process proxy has it.
-- The names begin like those of counts that no one reports.
local function expected(endpoint, now)
    local average, at = counts:get("a:e:" .. endpoint.name) or 0, counts:get("a:t:" .. endpoint.name) or now
    return average * exp((at - now) / DECAY) * (active(endpoint) + 1)
end

-- The endpoint for a request: one that is well if there is any, else one that is not; nil when all
-- were tried. *tried* is a set of names, or nil; *hashed* the hash of the request, where its backend has one.
local function chosen(backend, client, tried, hashed)
    local algorithm = backend.balance
    local ready, now = backend.ready, ngx.now()
    local count = #ready
    if not algorithm and not hashed then
        local turn = backend.turn
        for _ = 1, count do
            turn = turn % count + 1
            local found = ready[turn]
            if found.state.retry_at <= now and not (tried and tried[found.name]) then
                backend.turn = turn
                return found
            end
        end
    end
    local well, left = {}, {}
    for _, endpoint in ipairs(ready) do
        if not (tried and tried[endpoint.name]) then
            left[#left + 1] = endpoint
            if endpoint.state.retry_at <= now then
                well[#well + 1] = endpoint
            end
        end
    end
    well = #well > 0 and well or left
    if #well == 0 then
        return nil
    end
    if hashed then
        return hashing.choose(backend, well, hashed)
    end
    backend.turn = backend.turn % count + 1
    if algorithm == "random" or algorithm == "ewma" then
        local first, second = two(well)
        local cost = algorithm == "random" and active or expected
        return second and cost(second, now) < cost(first, now) and second or first
    elseif algorithm == "least-connections" then
        local best, fewest
        for step = 0, #well - 1 do
            local endpoint = well[(backend.turn + step) % #well + 1]
            local busy = active(endpoint)
            if not best or busy < fewest then
                best, fewest = endpoint, busy
            end
        end
        return best
    elseif algorithm == "client-hash" then
        -- Highest random weight: when an endpoint goes, only its own clients move.
        local best, highest
        for _, endpoint in ipairs(well) do
            local weight = crc32(client .. "|" .. endpoint.name)
            if not best or weight > highest or (weight == highest and endpoint.name > best.name) then
                best, highest = endpoint, weight
            end
        end
        return best
    end
    return well[backend.turn % #well + 1]
end

-- The first request to an endpoint whose back-off ended is a probe: until its outcome is known, others go
-- elsewhere, or a dead endpoint would hold up all of them at once, again and again.
function M.probed(endpoint)
    if endpoint and endpoint.state.failures > 0 then
        local now = ngx.now()
        if endpoint.state.retry_at <= now then
            endpoint.state.retry_at = now + settings.connect + 1
        end
    end
    return endpoint
end

-- As `chosen`, and probed.
function M.endpoint(backend, client, tried, hashed)
    return M.probed(chosen(backend, client, tried, hashed))
end

-- A request begins (1) or ends (-1) at an endpoint. What a worker that died had under way is forgotten with
-- the count itself, after a while.
function M.count(endpoint, algorithm, amount)
    if COUNTING[algorithm] then
        counts:incr("a:" .. endpoint.name, amount, 0, 3600)
    end
end

-- A request took so many seconds. A peak counts at once, and is forgotten in time. Two workers may do this at
-- once: then one of the times is lost, which is no matter.
function M.took(endpoint, algorithm, seconds)
    if algorithm ~= "ewma" then
        return
    end
    local now = ngx.now()
    local average, at = counts:get("a:e:" .. endpoint.name) or 0, counts:get("a:t:" .. endpoint.name) or now
    local kept = exp((at - now) / DECAY)
    local after = seconds > average and seconds or average * kept + seconds * (1 - kept)
    counts:set("a:e:" .. endpoint.name, after, 3600)
    counts:set("a:t:" .. endpoint.name, now, 3600)
end

-- A connection to an endpoint could not be made.
function M.failed(endpoint)
    local state = endpoint.state
    state.retry_at = ngx.now() + min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ^ min(state.failures, 8))
    state.failures = state.failures + 1
end

-- A connection to an endpoint was made.
function M.worked(endpoint)
    local state = endpoint.state
    state.failures = 0
    state.retry_at = 0
end

return M
