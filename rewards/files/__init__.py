"""Files of rows, as every command reads them; a bad row is set aside with its line and reason."""
