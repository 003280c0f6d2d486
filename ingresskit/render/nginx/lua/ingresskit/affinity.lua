-- Cookies that keep clients at their endpoints: as `ingresskit.proxy.upstreams.affinity` has them, with the same
-- values, so that a proxy with the same key takes them.
--
-- The member `affinity` of a backend: cookie is its name, port what of the backend is digested; persistent,
-- legacy, change, conditional are true or left out; path, domain, max_age, expires, secure, samesite are the
-- attributes.

local bit = require "bit"
local backends = require "ingresskit.backends"
local hashing = require "ingresskit.hashing"
local selections = require "ingresskit.selections"
local settings = require "ingresskit.settings"
local tables = require "ingresskit.tables"

local clients = require "ingresskit.clients"

local hmac, crc32, re_find, re_match = ngx.hmac_sha1, ngx.crc32_long, ngx.re.find, ngx.re.match
local sub, find, match, format, byte = string.sub, string.find, string.match, string.format, string.byte
local concat = table.concat

local M = {}

local MOST_NAMES = 20

local function random_key()
    local file = assert(io.open("/dev/urandom", "rb"))
    local key = file:read(32)
    file:close()
    return key
end

-- Read before workers begin, so that all of them have the same; without one of the operator, one until the next
-- load of the configuration.
local secret
if settings.affinity_key then
    secret = (settings.affinity_key:gsub("%x%x", function(digits)
        return string.char(tonumber(digits, 16))
    end))
else
    secret = random_key()
end
local blind = random_key()

local function digest(key, text)
    return sub(hmac(key, text), 1, 16)
end

local function hex(text)
    return (text:gsub(".", function(letter)
        return format("%02x", byte(letter))
    end))
end

-- What clients send is compared by a digest that they cannot foresee: its time tells them nothing.
local function same(one, other)
    return hmac(blind, one) == hmac(blind, other)
end

-- The keys of a backend, none of whose digests means anything in another use; and the endpoints by their values.
local function prepared(backend)
    local seats = backend.seats
    if not seats then
        local wanted = backend.affinity
        local port = concat({ wanted.port, wanted.cookie, wanted.persistent and "persistent" or "balanced" }, "\0")
        seats = { proof = digest(secret, "proof\0" .. port), way = digest(secret, "way\0" .. port), by_value = {} }
        backend.seats = seats
        if wanted.persistent then
            for _, endpoint in ipairs(backend.ready) do
                endpoint.value = hex(digest(seats.proof, endpoint.name))
                seats.by_value[hmac(blind, endpoint.value)] = endpoint
            end
        end
    end
    return seats
end

local function way(backend, seats, session)
    return hashing.highest(backend.ready, crc32(digest(seats.way, session)))
end

-- The endpoint that the cookie of a request leads to; nil: it has none that leads to one of *backend*.
local function led(backend, context)
    local value = selections.value("cookie", backend.affinity.cookie, context)
    if not value then
        return nil
    end
    local seats = prepared(backend)
    if backend.affinity.persistent then
        return seats.by_value[hmac(blind, value)]
    end
    local session, proof = match(value, "^(%x+)%.(%x+)$")
    if session and same(proof, hex(digest(seats.proof, session))) then
        return way(backend, seats, session)
    end
end

-- In the rewrite phase, where the cookie can be read.
function M.begin(backend, context)
    context.seat = led(backend, context)
end

local function usable(endpoint, tried, now)
    return not (tried and tried[endpoint.name]) and endpoint.state.retry_at <= now
end

-- A session whose endpoint may be tried, and that endpoint; nil where chance finds none.
local function session(backend, seats, tried, now)
    local start = ngx.var.request_id
    for number = 1, MOST_NAMES do
        local name = sub(hex(digest(blind, start .. (tried and "again" or "first") .. number)), 1, 16)
        local endpoint = way(backend, seats, name)
        if usable(endpoint, tried, now) then
            return name, endpoint
        end
    end
end

-- The endpoint for a try of a request; *choose* is how it is chosen without a cookie.
function M.endpoint(backend, context, tried, choose)
    local seats, now, seat = prepared(backend), ngx.now(), context.seat
    context.seat_value = nil
    if seat and usable(seat, tried, now) then
        return backends.probed(seat)
    end
    if seat and not backend.affinity.change then
        return choose()
    end
    if not backend.affinity.persistent then
        local name, endpoint = session(backend, seats, tried, now)
        if name then
            context.seat_value = name .. "." .. hex(digest(seats.proof, name))
            return backends.probed(endpoint)
        end
        return choose()
    end
    local endpoint = choose()
    context.seat_value = endpoint and endpoint.value
    return endpoint
end

-- Browsers that refuse SameSite=None or take it for Strict; see `ingresskit.proxy.upstreams.same_site`.
local IOS_12 = [[\(iP.{1,200}; CPU .{0,50}OS 12[_\d]{0,20}.{0,50}\) AppleWebKit/]]
local MAC_10_14 = [[\(Macintosh;.{0,100}Mac OS X 10_14[_\d]{0,20}.{0,50}\) AppleWebKit/]]
local SAFARI = [[Version/.{1,50} Safari/]]
local EMBEDDED = [[\AMozilla/[.\d]{1,10} \(Macintosh;.{0,100}Mac OS X [_\d]{1,20}\) AppleWebKit/[.\d]{1,20} \(KHTML, like Gecko\)\z]]
local CHROME = [[Chrom[^ /]{1,20}/(\d{1,5})]]
local UC = [[UCBrowser/(\d{1,5})\.(\d{1,5})\.(\d{1,5})]]

local function takes_none_for_strict(agent)
    agent = sub(agent, 1, 512)
    if re_find(agent, IOS_12, "jo") then
        return true
    elseif re_find(agent, MAC_10_14, "jo") and (re_find(agent, SAFARI, "jo") and not find(agent, "Chrom", 1, true) or re_find(agent, EMBEDDED, "jo")) then
        return true
    end
    local browser = re_match(agent, UC, "jo")
    if browser then
        local major, minor, build = tonumber(browser[1]), tonumber(browser[2]), tonumber(browser[3])
        return major < 12 or major == 12 and (minor < 13 or minor == 13 and build < 2)
    end
    local chrome = re_match(agent, CHROME, "jo")
    return chrome ~= nil and tonumber(chrome[1]) >= 51 and tonumber(chrome[1]) < 67
end

-- The value of the field Set-Cookie for a response; nil: the client needs none.
function M.cookie(context)
    local value = context.seat_value
    if not value then
        return nil
    end
    local wanted = context.backend.affinity
    local parts = { wanted.cookie .. "=" .. value }
    if wanted.expires then
        parts[#parts + 1] = "Expires=" .. ngx.http_time(ngx.time() + wanted.expires)
    end
    if wanted.max_age then
        parts[#parts + 1] = "Max-Age=" .. format("%d", wanted.max_age)
    end
    if wanted.domain then
        parts[#parts + 1] = "Domain=" .. wanted.domain
    end
    parts[#parts + 1] = "Path=" .. (wanted.path or context.target.seat_path or "/")
    if wanted.secure == "true" or wanted.secure ~= "false" and clients.over_tls(context, ngx.var) then
        parts[#parts + 1] = "Secure"
    end
    parts[#parts + 1] = "HttpOnly"
    local spared = wanted.conditional and wanted.samesite == "None" and takes_none_for_strict(ngx.var.http_user_agent or "")
    if wanted.samesite and not spared then
        parts[#parts + 1] = "SameSite=" .. wanted.samesite
    end
    return concat(parts, "; ")
end

-- The backend of *shares*, {id, weight} each, whose cookie a request has; *sticky*: that holds it in a variant.
function M.held(shares, generation, context, sticky)
    for _, share in ipairs(shares) do
        local backend = tables.get("b", share[1], generation)
        local wanted = backend and backend.affinity
        if wanted and not (sticky and wanted.legacy) then
            backend = backends.usable(share[1], generation)
            if backend and led(backend, context) then
                return backend
            end
        end
    end
end

backends.held = M.held
selections.held = M.held
selections.any = backends.any

return M
