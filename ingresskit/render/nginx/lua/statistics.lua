return require("ingresskit.program").statistics()
