return require("ingresskit.program").receive()
