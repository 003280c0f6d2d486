-- The certificate for a TLS server name.
--
-- Keys are read from the shared tables, never from a file, and parsed once in each worker. Where there
-- is none, or it cannot be used, the handshake goes on with the one nginx was configured with.

local ssl = require "ngx.ssl"
local tables = require "ingresskit.tables"

local find, sub, lower, byte = string.find, string.sub, string.lower, string.byte

local M = {}

-- A certificate as nginx uses it, {chain =, key =}, parsed once for each version of its row; nil when it
-- cannot be used.
local function read(name, generation)
    local row = name and tables.get("c", name, generation)
    if not row then
        return nil
    end
    if row.parsed == nil then
        local chain, fault = ssl.parse_pem_cert(row.chain)
        local key
        if chain then
            key, fault = ssl.parse_pem_priv_key(row.key)
        end
        if not key then
            ngx.log(ngx.ERR, "certificate ", name, " cannot be read: ", fault)
        end
        row.parsed = key and { chain = chain, key = key } or false
    end
    return row.parsed or nil
end

-- The certificate for a server name: of the name, else of the wildcard above it; nil: the default one.
local function wanted(name, generation)
    if not name then
        return nil
    end
    name = lower(name)
    if sub(name, -1) == "." then
        name = sub(name, 1, -2)
    end
    local found = tables.get("n", name, generation)
    if found == nil then
        local dot = find(name, ".", 2, true)
        if dot and byte(name) ~= 46 then
            found = tables.get("n", "*" .. sub(name, dot), generation)
        end
    end
    return found
end

-- Runs in the handshake.
function M.choose()
    local name, found = ssl.server_name(), nil
    for _ = 1, 20 do
        tables.moved = false
        local generation = tables.generation()
        found = read(wanted(name, generation), generation) or read("default", generation)
        if not tables.moved then
            break -- else rows of two states were read
        end
    end
    if not found then
        return
    end
    ssl.clear_certs()
    local done, fault = ssl.set_cert(found.chain)
    if done then
        done, fault = ssl.set_priv_key(found.key)
    end
    if not done then
        ngx.log(ngx.ERR, "certificate cannot be used: ", fault)
        return ngx.exit(ngx.ERROR)
    end
end

return M
