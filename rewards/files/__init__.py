"""Files of rows: read by every command, each bad row set aside with its line and reason."""
