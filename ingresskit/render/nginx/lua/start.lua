return require("ingresskit.program").start()
