-- What the operator set: read once, when nginx loads its configuration.
--
-- trusted: ranges of peers whose word on the client is believed. proxy_protocol: those peers open
-- with a PROXY header. redirect_port: where plain HTTP is redirected to; 0 is nowhere. own_redirects: the
-- same for clients that name the port of a listener itself, by that port. public_http, public_https: the
-- ports of clients that name none. underscores: header names with "_" pass. connect, read,
-- send: time-outs in seconds. log: requests are written to an access log.

local json = require "ingresskit.json"

local M = {
    trusted = {},
    proxy_protocol = false,
    redirect_port = 0,
    own_redirects = {},
    underscores = false,
    public_http = 80,
    public_https = 443,
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
