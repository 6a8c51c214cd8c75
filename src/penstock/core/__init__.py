"""The pure part: values and decisions. Standard library and msgspec only: no I/O, clock, environment or async."""
