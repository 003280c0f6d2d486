"""What users test their renderers and controllers with."""
