require "ingresskit.program"
