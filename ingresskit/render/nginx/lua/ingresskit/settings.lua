-- What the operator set: read once, when nginx loads its configuration.
--
-- trusted: ranges of peers whose word on the client is believed. proxy_protocol: those peers open
-- with a PROXY header. https_port: where plain HTTP is redirected to; 0 is nowhere. connect, read,
-- send: time-outs in seconds. log: requests are written to an access log.

local json = require "ingresskit.json"

local M = {
    trusted = {},
    proxy_protocol = false,
    https_port = 0,
    log = false,
    connect = 5,
    read = 60,
    send = 60,
}

function M.load(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    for name, value in pairs(json.decode((text:gsub("%s+$", "")))) do
        M[name] = value
    end
end

return M
