-- The fields of a request: what matters of them to a proxy, and what a peer has no say in.
--
-- A request has a dozen fields, of which two or three matter. Making a Lua text of each of the others costs
-- more than everything else here, so their first letters and lengths are looked at where nginx has them.

local ffi = require "ffi"
require "resty.core.request" -- declares what is called below
local base = require "resty.core.base"
local settings = require "ingresskit.settings"

local settings = require "ingresskit.settings"

local C = ffi.C
local get_request, get_string_buf = base.get_request, base.get_string_buf
local ffi_string, ffi_cast = ffi.string, ffi.cast
local element_type = ffi.typeof("ngx_http_lua_ffi_table_elt_t *")
local element_size = ffi.sizeof("ngx_http_lua_ffi_table_elt_t")
local cut = ffi.new("int[1]")

local re_find, clear_header = ngx.re.find, ngx.req.clear_header
local sub, lower, find, gsub = string.sub, string.lower, string.find, string.gsub
local type = type

local M = {}

local MAX_HEADERS = 100

-- What a field means to a proxy, by its name in lower case, as `ingresskit.proxy.h1.heads` has it. 0 is: nothing.
local CONNECTION, UPGRADE, CODING, LENGTH, HOST_FIELD, EXPECT, REQUEST_ID_FIELD, CLIENT, DROPPED, AUTHORIZATION = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

local KINDS = {
    ["connection"] = CONNECTION,
    ["upgrade"] = UPGRADE,
    ["transfer-encoding"] = CODING,
    ["content-length"] = LENGTH,
    ["host"] = HOST_FIELD,
    ["expect"] = EXPECT,
    ["x-request-id"] = REQUEST_ID_FIELD,
    ["authorization"] = AUTHORIZATION,
    -- What says who the client is: believed of trusted proxies.
    ["forwarded"] = CLIENT,
    ["x-real-ip"] = CLIENT,
    ["x-scheme"] = CLIENT,
    ["client-cert"] = CLIENT,
    ["client-cert-chain"] = CLIENT,
    ["x-client-cert"] = CLIENT,
    -- Said to the delegate, and by this program only: see policies/handover.lua.
    ["ingresskit-delegate"] = DROPPED,
    -- For this connection only.
    ["http2-settings"] = DROPPED,
    ["keep-alive"] = DROPPED,
    ["te"] = DROPPED,
    ["trailer"] = DROPPED,
    -- To CGI this is HTTP_PROXY, by which many libraries choose where to send their own requests.
    ["proxy"] = DROPPED,
    ["proxy-status"] = 0,
}

-- What the delegate says to services that authenticate and to those that make pages of errors: dropped in other
-- spellings, which could be taken for these. As `ingresskit.proxy.message.fields` has them.
local SAID_TO_SERVICES = {
    ["x-auth-request-redirect"] = true,
    ["x-code"] = true,
    ["x-format"] = true,
    ["x-ingress-name"] = true,
    ["x-namespace"] = true,
    ["x-original-forwarded-for"] = true,
    ["x-original-method"] = true,
    ["x-original-uri"] = true,
    ["x-original-url"] = true,
    ["x-sent-from"] = true,
    ["x-service-name"] = true,
    ["x-service-port"] = true,
}

local kind_count = 0

local function kind_of(name)
    local kind = 0
    if sub(name, 1, 11) == "x-forwarded" or sub(name, 1, 11) == "ssl-client-" or sub(name, 1, 13) == "x-ssl-client-" then
        kind = CLIENT
    elseif sub(name, 1, 6) == "proxy-" then
        kind = DROPPED
    end
    -- Names are a client's to make up: only so many are remembered.
    if kind_count < 4096 and #name <= 64 then
        kind_count = kind_count + 1
        KINDS[name] = kind
    end
    return kind
end

local OWN_TOKENS = {
    [""] = true,
    ["close"] = true,
    ["keep-alive"] = true,
    ["upgrade"] = true,
    ["te"] = true,
    ["http2-settings"] = true,
    -- Set by nginx from what we tell it; naming them in Connection takes nothing away.
    ["host"] = true,
    ["content-length"] = true,
    ["transfer-encoding"] = true,
    ["connection"] = true,
    ["expect"] = true,
}

local NO_COLON = [[^[^:\r\n]+\r?$]]
local BINDING = [[\A\s*(?:ntlm|negotiate)]]
local REQUEST_ID = [[\A[A-Za-z0-9._=+/:@-]{1,128}\z]]
local PROTOCOL = [[\A(?!h2|h3|http|tls)[A-Za-z0-9._+-]{1,32}(?:/[A-Za-z0-9._-]{1,16})?\z]]

-- Whether a name of this length and first letter may be one of the above, as length * 256 + letter.
local MAYBE = {}
for name in pairs(KINDS) do
    MAYBE[#name * 256 + string.byte(name)] = true
end
for length = 6, 255 do
    MAYBE[length * 256 + 112] = true -- proxy-*
    if length >= 11 then
        MAYBE[length * 256 + 120] = true -- x-forwarded*, x-ssl-client-*
        MAYBE[length * 256 + 115] = true -- ssl-client-*
    end
end

-- What the characters of a name are: 0 letters in lower case, digits and "-"; 1 other characters that RFC 9110,
-- section 5.6.2, allows in names; 2 those that it does not allow.
local CHARACTERS = ffi.new("uint8_t[256]", 2)
for code = 33, 126 do
    local letter = string.char(code)
    if find(letter, "[%w-]") then
        CHARACTERS[code] = 0
    elseif find("!#$%&'*+.^_`|~", letter, 1, true) then
        CHARACTERS[code] = 1
    end
end

-- A name as the least careful application reads it: all punctuation is "-". nginx has lowered the letters.
local function plain(name)
    return (gsub(name, "[^a-z0-9]", "-"))
end
M.plain = plain

local function add(values, name, value)
    local before = values[name]
    if not before then
        values[name] = value
    elseif type(before) == "table" then
        before[#before + 1] = value
    else
        values[name] = { before, value }
    end
end

-- Read what matters of the header, and take out what the peer has no say in.
--
-- Returns the status of a refusal, or nil, then what a trusted proxy said (nil when not trusted), whether
-- the connection to the endpoint is the client's own after this, and the names that pass with punctuation
-- other than "-" (nil: none).
function M.read(var, trusted)
    local count = C.ngx_http_lua_ffi_req_get_headers_count(get_request(), MAX_HEADERS, cut)
    if cut[0] ~= 0 then
        return 431
    end
    local elements = ffi_cast(element_type, get_string_buf(count * element_size))
    if C.ngx_http_lua_ffi_req_get_headers(get_request(), elements, count, 0) ~= 0 then
        return 400
    end
    local said, connection, upgrade, coding, length, dropped, odd
    local empty, binding, hosts, total = false, false, 0, 0
    for index = 0, count - 1 do
        local element = elements[index]
        local size = element.key.len
        total = total + size + element.value.len + 4 -- colon, space and line end
        if element.value.len == 0 then
            empty = true
        end
        local worst, key = 0, element.key.data
        for place = 0, size - 1 do
            local character = CHARACTERS[key[place]]
            if character > worst then
                worst = character
            end
        end
        if worst == 2 or size == 0 then
            return 400
        elseif worst == 1 then
            -- CGI makes "_" of "-", and PHP of "." too. "_" is what applications are known to mix up with "-";
            -- other characters, which honest names may have, are looked at only where they would matter.
            local name = ffi_string(key, size)
            local meant = plain(name)
            local taken = SAID_TO_SERVICES[meant] or (KINDS[meant] or kind_of(meant)) ~= 0
            if taken or (not settings.underscores and find(name, "_", 1, true)) then
                dropped = dropped or {}
                dropped[#dropped + 1] = name
            else
                odd = odd or {}
                odd[#odd + 1] = name
            end
        elseif size > 255 or MAYBE[size * 256 + element.key.data[0]] then
            local name = ffi_string(element.key.data, size)
            local kind = KINDS[name] or kind_of(name)
            if kind == HOST_FIELD then
                hosts = hosts + 1
            elseif kind ~= 0 then
                local value = ffi_string(element.value.data, element.value.len)
                if kind == CONNECTION then
                    connection = connection and connection .. "," .. value or value
                elseif kind == LENGTH then
                    length = value
                elseif kind == CODING then
                    coding = value
                elseif kind == UPGRADE then
                    -- Two fields are a list; we take single offers only.
                    upgrade = upgrade and "," or value
                elseif kind == REQUEST_ID_FIELD then
                    if re_find(value, REQUEST_ID, "jo") then
                        var.ik_request_id = value
                    end
                elseif kind == AUTHORIZATION then
                    -- These authenticate the connection and not the request: it must not become anybody else's.
                    binding = binding or re_find(value, BINDING, "joi") ~= nil
                elseif kind == EXPECT then
                    if lower(value) ~= "100-continue" then
                        return 417
                    end
                elseif kind == CLIENT and trusted then
                    said = said or {}
                    add(said, name, value)
                else
                    -- Not at once: the list that is walked here is the one that would be changed.
                    dropped = dropped or {}
                    dropped[#dropped + 1] = name
                end
            end
        end
    end
    if total > settings.max_header then
        return 431
    end
    if hosts > 1 then
        return 400
    end
    if dropped then
        for _, name in ipairs(dropped) do
            clear_header(name)
        end
    end
    -- nginx takes a line without a colon for a field without a value.
    if empty and var.server_protocol ~= "HTTP/2.0" and re_find(ngx.req.raw_header(true), NO_COLON, "jom") then
        return 400
    end
    if connection and connection ~= "keep-alive" and connection ~= "Keep-Alive" then
        local upgrading = false
        for token in string.gmatch(lower(connection), "[^,%s]+") do
            if token == "upgrade" then
                upgrading = true
            elseif not OWN_TOKENS[token] then
                clear_header(token)
            end
        end
        if
            upgrading
            and upgrade
            and not coding
            and (length or "0") == "0"
            and var.server_protocol == "HTTP/1.1"
            and re_find(upgrade, PROTOCOL, "joi")
        then
            var.ik_connection = "upgrade"
            var.ik_upgrade = upgrade
        end
    end
    return nil, said, binding, odd
end

return M
