"""Everything behind the port that is no relayed call: what a caller has used, may use, and how the gateway is doing."""
