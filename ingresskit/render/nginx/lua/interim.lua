return require("ingresskit.program").interim()
