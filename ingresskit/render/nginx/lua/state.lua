return require("ingresskit.program").state()
