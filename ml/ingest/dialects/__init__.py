"""The form of a text file of rows: found once from its beginning, then followed by the reader."""
