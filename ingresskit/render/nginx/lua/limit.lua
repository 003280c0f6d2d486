return require("ingresskit.program").limit()
