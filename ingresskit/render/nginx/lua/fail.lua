return require("ingresskit.program").fail()
