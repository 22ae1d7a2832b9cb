"""An app of kinds that only fault tests want; they name it in EXTRA_APPS."""
