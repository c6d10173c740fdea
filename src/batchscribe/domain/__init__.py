"""Pure rules and data: standard library only, no I/O, no clock."""
