return require("ingresskit.program").log()
