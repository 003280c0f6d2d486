return require("ingresskit.program").certificate()
