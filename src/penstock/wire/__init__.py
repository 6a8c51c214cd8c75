"""The hot edges: HTTP/1.1 in, HTTP/1.1 out, and the bridge to the pages. Imports core only, never each other."""
