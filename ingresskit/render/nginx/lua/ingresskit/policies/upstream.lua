-- How a request is sent to an endpoint: time-outs and retries.
--
-- These are no functions that rows name, but members of a row's `upstream`: connect, read and send in seconds, and
-- retries beyond the first try, late = whether silence causes one, and within = the seconds in which one may begin. How
-- an endpoint is chosen stands in the row of the backend: `ingresskit.backends`.

local balancer = require "ngx.balancer"
local settings = require "ingresskit.settings"

local min = math.min

local M = {}

-- Before the first try of a request to a backend with *count* endpoints.
function M.begin(upstream, count)
    if upstream.connect or upstream.send or upstream.read then -- else those of the configuration hold
        balancer.set_timeouts(
            upstream.connect or settings.connect,
            upstream.send or settings.send,
            upstream.read or settings.read
        )
    end
    local retries = min(upstream.retries or 1, count - 1)
    if retries > 0 then
        balancer.set_more_tries(retries)
    end
end

return M
