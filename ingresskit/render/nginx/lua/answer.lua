return require("ingresskit.program").answer()
