"""The front for the Ingress API: reads Ingresses and IngressClasses, and produces claimants."""
