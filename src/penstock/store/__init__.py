"""All state, in one SQL database: the ledger, the accounts, the price books."""
