-- Client certificates: nginx asked for one in the handshake and verified it, in the server of the host.

local clients = require "ingresskit.clients"
local headers = require "ingresskit.policies.headers"
local replies = require "ingresskit.local_replies"
local settings = require "ingresskit.settings"

local find, sub, lower, gsub = string.find, string.sub, string.lower, string.gsub
local re_find, re_match = ngx.re.find, ngx.re.match

local M = { guards = {}, request = {} }

-- Of a distinguished name (RFC 2253) the first common name, which is the most specific one.
local COMMON_NAME = [[\A(?:(?!CN=)(?:[^,+\\]|\\.)+[,+])*+CN=((?:[^,+\\]|\\.)*+)(?:[,+]|\z)]]

-- What is said of certificates, also by trusted proxies: only what this nginx saw itself counts.
local FAMILY = {
    "client-cert", "client-cert-chain", "ssl-client-cert", "ssl-client-issuer-dn", "ssl-client-subject-dn",
    "ssl-client-verify", "x-client-cert", "x-forwarded-client-cert", "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info", "x-ssl-client-cert", "x-ssl-client-dn", "x-ssl-client-issuer-dn",
    "x-ssl-client-subject-dn", "x-ssl-client-verify",
}

-- Whether a handshake with this server name was made for a rule host.
local function is_for(name, host)
    if host == "*" then
        return true
    end
    if not name or name == "" then
        return false
    end
    name = lower(name)
    if sub(name, -1) == "." then
        name = sub(name, 1, -2)
    end
    if sub(host, 1, 2) == "*." then
        local dot = find(name, ".", 1, true)
        return dot ~= nil and dot > 1 and sub(name, dot) == sub(host, 2)
    end
    return name == host
end

-- Requests whose handshake was that of their host. asked: {id = of the server that asks, host = the rule host,
-- redirected = whether plain HTTP gets to TLS by another guard, name = a pattern for common names}.
function M.guards.certificate(asked, context, var)
    if var.https ~= "on" then
        if asked.redirected and settings.redirect_port ~= 0 and not clients.over_tls(context, var) then
            return
        end
        replies.send(403, nil, "denied")
        return true
    end
    if var.ik_asked ~= asked.id or not is_for(var.ssl_server_name, asked.host) then
        replies.send(421, nil, "denied")
        return true
    end
    if asked.name then
        local found = re_match(var.ssl_client_s_dn or "", COMMON_NAME, "jos")
        if not found or not re_find(found[1], asked.name, "jos") then
            replies.send(403, nil, "denied")
            return true
        end
    end
end

-- Tell the endpoint what was verified; and the certificate itself, where it is *forwarded*.
function M.request.certificate(forwarded, context, var)
    local set = { { "ssl-client-verify", var.ssl_client_verify or "NONE" } }
    for name, value in pairs {
        ["ssl-client-subject-dn"] = var.ssl_client_s_dn,
        ["ssl-client-issuer-dn"] = var.ssl_client_i_dn,
        ["ssl-client-cert"] = forwarded and var.ssl_client_escaped_cert or nil,
    } do
        if value ~= "" then
            -- No value of a certificate ends the line.
            set[#set + 1] = { name, (gsub(value, "%c", " ")) }
        end
    end
    headers.request.headers({ drop = FAMILY, set = set }, context, var)
end

return M
