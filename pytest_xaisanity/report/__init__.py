"""Reports: from recorded evidence alone, as plain values."""
