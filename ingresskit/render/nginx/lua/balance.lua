return require("ingresskit.program").balance()
