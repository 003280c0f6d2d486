return require("ingresskit.program").respond()
