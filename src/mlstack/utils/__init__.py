"""Named topics that every room may use. No framework is imported here."""
