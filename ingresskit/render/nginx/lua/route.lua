return require("ingresskit.program").route()
