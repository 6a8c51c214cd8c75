"""The pure part: values and decisions. Standard library and msgspec only; no I/O, no clock, no environment, no async."""
