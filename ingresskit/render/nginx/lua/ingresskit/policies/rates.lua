-- How many requests a client may send in a time, and at a time. All workers count together.

local addresses = require "ingresskit.addresses"
local places = require "ingresskit.places"
local replies = require "ingresskit.local_replies"

local dict = ngx.shared.ingresskit_limits

local ipairs, max, sub, now = ipairs, math.max, string.sub, ngx.now

local M = { guards = {} }

-- What tells a client apart: its address; of IPv6 the /64, in which a host may choose its address.
local function key_of(owner, client)
    return owner .. (sub(client, 1, 1) == "6" and sub(client, 1, 17) or client)
end

local function exempt(argument, context)
    return argument.exempt and addresses.within(context.client, argument.exempt)
end

-- Clients that keep to all rates of *argument*: {owner, rates = {{requests a second, how many more at once}},
-- exempt = ranges or nil, status}; the others get the status.
--
-- Of each bucket there is the moment at which it will be empty, counted in requests: at a rate of 10 the moment
-- "now" moves on by 10 a second, and each request puts the other one off by 1. Sums of whole numbers are exact.
-- Between reading and writing another worker may count: one request more may get through then.
function M.guards.rate(argument, context)
    if exempt(argument, context) then
        return
    end
    local key = key_of(argument.owner, context.client)
    local rates = argument.rates
    local moments = {}
    for index, rate in ipairs(rates) do
        local present = now() * rate[1]
        local empty = max(present, dict:get(key .. index) or 0)
        if empty - present > rate[2] then
            replies.send(argument.status, nil, "denied")
            return true
        end
        moments[index] = { empty + 1, (empty + 1 - present) / rate[1] + 1 }
    end
    for index, moment in ipairs(moments) do
        dict:set(key .. index, moment[1], moment[2])
    end
end

-- Clients with less than *most* requests under way; the others get the status. *argument* as above.
function M.guards.connections(argument, context)
    if exempt(argument, context) then
        return
    end
    local key = key_of(argument.owner, context.client)
    local count, place = places.enter(key)
    if not count then
        return -- there is no memory for it, and a refusal would be for everybody
    end
    if count > argument.most then
        places.leave(key, place)
        replies.send(argument.status, nil, "denied")
        return true
    end
    context.counted_as, context.place = key, place
end

-- The request of *context* is over.
function M.finished(context)
    if context.place then
        places.leave(context.counted_as, context.place)
    end
end

return M
