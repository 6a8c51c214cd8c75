"""What the store raises towards whoever starts penstock; refusals of a call are in ``core.errors``."""


class StoreError(Exception):
    """The database cannot be used as it is; the message is for the admin and says what to do."""
