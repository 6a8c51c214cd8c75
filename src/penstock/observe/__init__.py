"""What operators see of the gateway. Everything here listens; nothing here can delay or fail a call."""
